"""The native engine: DeepSeek-V4 in torch, in this process, behind the Backend interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from dspark_local.backend import Cancelled, LoadProgress, ModelInfo
from dspark_local.demo import weights_path
from dspark_local.engine.answering import Answering, Prepared
from dspark_local.engine.answers import Answers, events_of
from dspark_local.engine.calibration import Calibration, load_calibration
from dspark_local.engine.calibration_store import OnlineStore, draft_key, local_folder
from dspark_local.engine.cost_store import CostStore
from dspark_local.engine.generate import generate
from dspark_local.engine.scoring import score_tokens
from dspark_local.engine.session_pool import NOTEWORTHY, SessionPool
from dspark_local.engine.speculation import Speculation
from dspark_local.engine.task import Task
from dspark_local.engine.token_texts import TokenTexts
from dspark_local.errors import CheckpointError, DsparkError, UsageError
from dspark_local.events import Event, Finished
from dspark_local.native_errors import as_told, native_errors
from dspark_local.opening import open_model
from dspark_local.plan.engine_plan import EnginePlan
from dspark_local.protocols.chat_encoding import encode_chat_segments
from dspark_local.protocols.special_tokens import USER
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.request import ChatRequest, TokenRequest
from dspark_models import Drafter, Target

OnProgress = Callable[[LoadProgress], None]
NO_DRAFT = "by copies from the text alone: the model's directory holds no draft"


class NativeBackend:
    """Implements dspark_local.backend.BatchingBackend; chat and complete run one answer alone.

    plan is what the model was opened by, None where somebody put it together by hand.
    """

    def __init__(
        self,
        target: Target,
        drafter: Drafter | None,
        tokenizer: ChatTokenizer,
        info: ModelInfo,
        *,
        speculation: Speculation | None = None,
        max_sequences: int = 2,
        plan: EnginePlan | None = None,
    ) -> None:
        self.info = info
        self.tokenizer = tokenizer
        self.target = target
        self.drafter = drafter
        self._speculation = speculation or Speculation(drafter.block_size if drafter else 0, Calibration())
        self.slots = max_sequences
        self.plan = plan
        self._user_id = tokenizer.token_id(USER)
        self._answering = Answering(tokenizer, target.vocab_size, target.context_length)
        self._pool = SessionPool(target, drafter, max_sequences)
        self._answers = Answers(self._pool, self._speculation)
        self._texts: dict[int, TokenTexts] = {}

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

        name is what the model is called, its directory's name if left out. max_sequences answers run at once, and as
        many conversations stay cached. Raises ModelNotFoundError, CheckpointError, OutOfMemoryError, and UsageError
        for a dtype that is not known.
        """

        draft_home = draft_dir or model_dir
        with native_errors():
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
            plan=opened.plan,
        )

    def measure(self, progress: OnProgress) -> None:
        """Find out what passes cost on this computer where that is not known yet: seconds, once.

        Otherwise the first answer waits for it. Raises DsparkError.
        """
        if not self._speculation.knows_costs:
            progress(LoadProgress("measuring this computer, once", 0, 0))
            with native_errors():
                self._speculation.costs(lambda: self._pool.scratch(drafting=True))

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        """See Backend."""
        return self._run(self._prepare(request), request, cancelled)

    def complete(self, request: TokenRequest, cancelled: Cancelled) -> Iterator[Event]:
        """See Backend. Markup tokens other than the end tokens appear in the text as they are spelled."""
        return self._run(self._prepare(request), request, cancelled)

    def begin(self, request: ChatRequest | TokenRequest, cancelled: Cancelled) -> int:
        """See BatchingBackend."""
        prepared = self._prepare(request)
        landmark = self._landmark(request, prepared.task)
        with native_errors():
            number = self._answers.begin(*prepared, request, cancelled, landmark=landmark)
        self._texts[number] = TokenTexts(self.tokenizer)
        return number

    def step(self) -> Iterator[tuple[int, Event | DsparkError]]:
        """See BatchingBackend."""
        try:
            for number, item in self._answers.step():
                if isinstance(item, Exception | Finished):
                    del self._texts[number]
                    yield number, as_told(item) if isinstance(item, Exception) else item
                else:
                    yield number, self._texts[number].told(item)
        except Exception:
            self._texts.clear()
            raise

    def tokenize(self, text: str) -> list[int]:
        """See Backend."""
        return self.tokenizer.encode_text(text)

    def count_prompt_tokens(self, request: ChatRequest) -> int:
        """See Backend."""
        return len(self._encode(request))

    def score(self, token_ids: Sequence[int]) -> list[float | None]:
        """See Backend."""
        with native_errors():
            session = self._pool.scratch()
            try:
                return score_tokens(session, token_ids)
            finally:
                session.close()

    def close(self) -> None:
        """See Backend. What was learnt about speculation is kept for the next start."""
        self._speculation.save()
        self._pool.close()
        del self.target, self.drafter, self._pool, self._answers

    def _encode(self, request: ChatRequest) -> list[int]:
        segments = encode_chat_segments(
            request.messages,
            thinking=request.thinking,
            reasoning_effort=request.reasoning_effort,
            tools=request.tools,
        )
        return self.tokenizer.encode_prompt(segments)

    def _prepare(self, request: ChatRequest | TokenRequest) -> Prepared:
        mode = request.speculation.mode
        if isinstance(request, ChatRequest):
            prepared = self._answering.chat(request, self._encode(request))
        else:
            prepared = self._answering.complete(request)
        if self.drafter is None and mode in ("static", "threshold"):
            raise UsageError(
                f"Speculation {mode!r} needs a draft, and this model's directory holds none.",
                hint="Use off or auto, or name the draft's directory with --draft.",
            )
        return prepared

    def _landmark(self, request: ChatRequest | TokenRequest, task: Task) -> int:
        """Where the instructions end and the conversation begins: clients begin many conversations alike."""
        if isinstance(request, TokenRequest) or self._user_id not in task.prompt:
            return 0
        begin = task.prompt.index(self._user_id)
        return begin if begin >= NOTEWORTHY else 0

    def _run(self, prepared: Prepared, request: ChatRequest | TokenRequest, cancelled: Cancelled) -> Iterator[Event]:
        landmark = self._landmark(request, prepared.task)
        with native_errors(), self._answers.seat(prepared.task, request, landmark=landmark) as seat:
            texts = TokenTexts(self.tokenizer)
            for progress in generate(seat.session, seat.task, cancelled, costs=seat.costs):
                yield from map(texts.told, events_of(progress, prepared.answer))


def _speculation(model_dir: Path, draft_home: Path, info: ModelInfo) -> Speculation:
    """What is known on this computer about speculating with this pair, placed like this."""
    block = info.draft_block_size
    placement = f"{info.device}, {info.numerics}, {torch.get_num_threads()} threads, block {block}"
    cost_store = CostStore(draft_key(model_dir), placement)
    if not block:
        return Speculation(0, Calibration(), cost_store=cost_store)
    calibration = load_calibration(draft_home, block, local_folder(draft_home))
    return Speculation(block, calibration, cost_store=cost_store, online_store=OnlineStore(draft_home, block))


def _recommended_sampling(model_dir: Path) -> tuple[float, float]:
    """(temperature, top_p) of generation_config.json, 1.0 where it says nothing."""
    path = model_dir / "generation_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return float(config.get("temperature", 1.0)), float(config.get("top_p", 1.0))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", hint="Download it again or remove it.") from error
