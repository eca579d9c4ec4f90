"""The native engine: DeepSeek-V4 in torch, in this process, behind the Backend interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from dspark_local.backend import Cancelled, LoadProgress, ModelInfo
from dspark_local.demo import weights_path
from dspark_local.engine.answer_text import AnswerText
from dspark_local.engine.calibration import Calibration, load_calibration
from dspark_local.engine.calibration_store import OnlineStore, draft_key, local_folder
from dspark_local.engine.cost_store import CostStore
from dspark_local.engine.generate import generate
from dspark_local.engine.scoring import score_tokens
from dspark_local.engine.session_pool import SessionPool
from dspark_local.engine.speculation import Speculation
from dspark_local.engine.task import Step, Task, check_prompt
from dspark_local.errors import CheckpointError, OutOfMemoryError, UsageError
from dspark_local.events import Event, Finished, FinishReason
from dspark_local.model_errors import models_errors
from dspark_local.opening import open_model
from dspark_local.protocols.chat_encoding import encode_chat_segments
from dspark_local.protocols.detokenize import IncrementalDetokenizer
from dspark_local.protocols.output_parser import OutputParser
from dspark_local.protocols.stop_strings import StopStrings
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.request import ChatRequest, SamplingSettings, TokenRequest
from dspark_models import Drafter, Target

OnProgress = Callable[[LoadProgress], None]
NO_DRAFT = "by copies from the text alone: the model's directory holds no draft"


class NativeBackend:
    """Implements dspark_local.backend.Backend. One request at a time."""

    def __init__(
        self,
        target: Target,
        drafter: Drafter | None,
        tokenizer: ChatTokenizer,
        info: ModelInfo,
        *,
        speculation: Speculation | None = None,
        max_sequences: int = 2,
    ) -> None:
        self.info = info
        self.tokenizer = tokenizer
        self.target = target
        self.drafter = drafter
        self._speculation = speculation or Speculation(drafter.block_size if drafter else 0, Calibration())
        self._end_ids = frozenset(tokenizer.eos_ids)
        self._pool = SessionPool(target, drafter, max_sequences)

    @classmethod
    def load(
        cls,
        model_dir: Path,
        *,
        draft_dir: Path | None = None,
        name: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        context_length: int | None = None,
        max_sequences: int = 2,
        progress: OnProgress | None = None,
    ) -> NativeBackend:
        """Open a checkpoint directory in the official format, and the draft in it or in draft_dir.

        name is what the model is called, its directory's name if left out. max_sequences conversations stay cached.
        Raises ModelNotFoundError, CheckpointError, OutOfMemoryError, and UsageError for a dtype that is not known.
        """

        draft_home = draft_dir or model_dir
        with _out_of_memory():
            opened = open_model(
                model_dir,
                draft_dir,
                dtype=dtype,
                device=device,
                context_length=context_length,
                max_sequences=max_sequences,
                progress=progress,
            )
        target, drafter = opened.target, opened.drafter
        is_demo = model_dir.resolve() == weights_path().resolve()
        temperature, top_p = _recommended_sampling(model_dir)
        info = ModelInfo(
            id="dspark-demo" if is_demo else name or model_dir.resolve().name,
            context_length=target.context_length,
            is_demo=is_demo,
            draft_block_size=drafter.block_size if drafter is not None else 0,
            device=target.device,
            dtype=target.dtype,
            numerics=target.numerics,
            weight_bytes=target.weight_bytes,
            recommended_temperature=temperature,
            recommended_top_p=top_p,
            extra={} if drafter is not None else {"speculation": NO_DRAFT},
        )
        tokenizer = ChatTokenizer.load(model_dir)
        speculation = _speculation(model_dir, draft_home, info)
        return cls(
            target,
            drafter,
            tokenizer,
            info,
            speculation=speculation,
            max_sequences=max_sequences,
        )

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        """See Backend."""
        prompt = self._encode(request)
        parser = OutputParser(request.thinking, tools=request.tools, extra_tokens=self.tokenizer.markup_spellings)
        answer = self._answer_text(request.sampling, parser)
        return self._run(self._task(prompt, request, answer), request, answer, cancelled)

    def complete(self, request: TokenRequest, cancelled: Cancelled) -> Iterator[Event]:
        """See Backend. Markup tokens other than the end tokens appear in the text as they are spelled."""
        answer = self._answer_text(request.sampling, None)
        return self._run(self._task(request.prompt_ids, request, answer), request, answer, cancelled)

    def tokenize(self, text: str) -> list[int]:
        """See Backend."""
        return self.tokenizer.encode_text(text)

    def count_prompt_tokens(self, request: ChatRequest) -> int:
        """See Backend."""
        return len(self._encode(request))

    def score(self, token_ids: Sequence[int]) -> list[float | None]:
        """See Backend."""
        with models_errors(), _out_of_memory():
            session = self._pool.scratch()
            try:
                return score_tokens(session, token_ids)
            finally:
                session.close()

    def close(self) -> None:
        """See Backend. What was learnt about speculation is kept for the next start."""
        self._speculation.save()
        self._pool.close()
        del self.target, self.drafter, self._pool

    def _encode(self, request: ChatRequest) -> list[int]:
        segments = encode_chat_segments(
            request.messages,
            thinking=request.thinking,
            reasoning_effort=request.reasoning_effort,
            tools=request.tools,
        )
        return self.tokenizer.encode_prompt(segments)

    def _answer_text(self, sampling: SamplingSettings, parser: OutputParser | None) -> AnswerText:
        detokenizer = IncrementalDetokenizer(self.tokenizer)
        return AnswerText(detokenizer, StopStrings(sampling.stop), parser, silent_ids=self._end_ids)

    def _task(self, prompt: Sequence[int], request: ChatRequest | TokenRequest, answer: AnswerText) -> Task:
        check_prompt(prompt, self.target.vocab_size, self.target.context_length)
        mode = request.speculation.mode
        if self.drafter is None and mode in ("static", "threshold"):
            raise UsageError(
                f"Speculation {mode!r} needs a draft, and this model's directory holds none.",
                hint="Use off or auto, or name the draft's directory with --draft.",
            )
        return Task(prompt, request.sampling, end_ids=self._end_ids, watch=answer.watch, repeatable=True)

    def _run(
        self, task: Task, request: ChatRequest | TokenRequest, answer: AnswerText, cancelled: Cancelled
    ) -> Iterator[Event]:
        with models_errors(), _out_of_memory():
            settings = request.speculation
            costs = None
            if settings.mode in ("auto", "ahead"):
                costs = self._speculation.costs(lambda: self._pool.scratch(drafting=True))
            session = self._pool.session(request.conversation_id, drafting=settings.mode != "off")
            equipment = self._speculation.equip(session, settings, task.sampling.temperature, costs)
            task = replace(task, scheduler=equipment.scheduler, calibration=equipment.calibration)
            if task.sampling.seed is None or task.sampling.is_greedy:  # a seed keeps drafts by another rule
                task = replace(task, learn=equipment.learn)
            for progress in generate(session, task, cancelled, costs=costs):
                if isinstance(progress, Step):
                    yield from answer.take()
                    if progress.round is not None:
                        yield progress.round
                elif isinstance(progress, Finished):
                    yield from answer.finish(truncated=progress.reason != "stop")
                    yield _finished(progress, answer)
                else:
                    yield progress


def _speculation(model_dir: Path, draft_home: Path, info: ModelInfo) -> Speculation:
    """What is known on this computer about speculating with this pair, placed like this."""
    block = info.draft_block_size
    placement = f"{info.device}, {info.numerics}, {torch.get_num_threads()} threads, block {block}"
    cost_store = CostStore(draft_key(model_dir), placement)
    if not block:
        return Speculation(0, Calibration(), cost_store=cost_store)
    calibration = load_calibration(draft_home, block, local_folder(draft_home))
    return Speculation(block, calibration, cost_store=cost_store, online_store=OnlineStore(draft_home, block))


def _finished(done: Finished, answer: AnswerText) -> Finished:
    reason: FinishReason = "tool_calls" if done.reason == "stop" and answer.has_tool_calls else done.reason
    return Finished(reason, done.token_ids, replace(done.stats, reasoning_tokens=answer.reasoning_tokens))


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """Memory that ran out after all, as an error that a user can act on."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"Memory ran out: {str(error).splitlines()[0] if str(error) else 'no more could be allocated'}",
            hint="Use a smaller --context, or --device cpu, or close what else uses the memory.",
        ) from error


def _recommended_sampling(model_dir: Path) -> tuple[float, float]:
    """(temperature, top_p) of generation_config.json, 1.0 where it says nothing."""
    path = model_dir / "generation_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return float(config.get("temperature", 1.0)), float(config.get("top_p", 1.0))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", hint="Download it again or remove it.") from error
