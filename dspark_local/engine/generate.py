"""The loop: draft a block, schedule how much of it to verify, verify in one target pass, accept, rewind, observe.

Terms. The anchor is the last decided token; it was shown to the user but no pass has seen it yet. With n tokens in the
caches it stands at position n. A round runs the anchor and k drafts at positions n .. n + k; row i of the logits is the
target's distribution after draft i - 1. With `a` drafts kept, the round decides a + 1 tokens (the target's own comes
last), the caches keep the anchor and those a drafts, and the new token is the next anchor. Plain decoding is k = 0.

Between rounds, and whenever the generator stops for any reason, the caches hold every decided token but the last.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from dspark_local.backend import Cancelled
from dspark_local.engine.accept import accept, accept_greedy
from dspark_local.engine.calibration import Calibration
from dspark_local.engine.meter import Meter
from dspark_local.engine.sampling import LogitsProcessor, draw, seeded_generator
from dspark_local.engine.scheduling import Off, Scheduler, verify_length
from dspark_local.engine.session import Session
from dspark_local.errors import ContextLengthError, UsageError
from dspark_local.events import Finished, FinishReason, PrefillProgress, RoundDone
from dspark_local.request import SamplingSettings
from dspark_models.protocols import DraftBlock, DraftSampler

PREFILL_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Task:
    """What to continue and how.

    end_ids stop the answer and belong to it. `watch` is shown every decided token in order and answers True when the
    answer ends with it (a stop string is complete); later tokens of the same block are then dropped.
    """

    prompt: Sequence[int]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    scheduler: Scheduler = field(default_factory=Off)
    calibration: Calibration = field(default_factory=Calibration)
    end_ids: frozenset[int] = frozenset()
    watch: Callable[[int], bool] = lambda token: False
    prefill_chunk: int = PREFILL_CHUNK


class Step(NamedTuple):
    """Tokens decided by one pass; `round` is None for the first token, which the prefill decides."""

    token_ids: tuple[int, ...]
    round: RoundDone | None = None


Progress = PrefillProgress | Step | Finished


def generate(session: Session, task: Task, cancelled: Cancelled = lambda: False) -> Iterator[Progress]:
    """Continue task.prompt in session: PrefillProgress*, Step*, Finished.

    `cancelled` is asked before every pass. UsageError for an empty prompt or an id outside the vocabulary,
    ContextLengthError when the prompt leaves no room for one token; both before anything runs.
    """
    check_prompt(task.prompt, session.target.vocab_size, session.target.context_length)
    return _Decoding(session, task, cancelled).run()


def check_prompt(prompt: Sequence[int], vocab_size: int, context_length: int) -> None:
    """UsageError or ContextLengthError when a prompt cannot be continued."""
    check_ids(prompt, vocab_size)
    if len(prompt) >= context_length:
        raise ContextLengthError(len(prompt), context_length)


def check_ids(token_ids: Sequence[int], vocab_size: int) -> None:
    """UsageError when there are no ids or one is outside the vocabulary."""
    if not token_ids:
        raise UsageError("There are no tokens: the prompt is empty.", hint="Give at least one token.")
    for index, token in enumerate(token_ids):
        if not 0 <= token < vocab_size:
            raise UsageError(
                f"Token {index} is {token}, which the model does not have.",
                hint=f"Its ids go from 0 to {vocab_size - 1:,}; check that the ids were made with its tokenizer.",
            )


class _Decoding:
    """The state of one answer."""

    def __init__(self, session: Session, task: Task, cancelled: Cancelled) -> None:
        self.session = session
        self.task = task
        self.cancelled = cancelled
        self.processor = LogitsProcessor(task.sampling, task.prompt)
        self.generator = seeded_generator(task.sampling.seed)
        self.meter = Meter(len(task.prompt), session.target.context_length)
        self.decided: list[int] = []
        room = session.target.context_length - len(task.prompt)
        self.budget = min(room, task.sampling.max_tokens or room)
        self.reason: FinishReason | None = None

    def run(self) -> Iterator[Progress]:
        """Prefill, then rounds until something ends the answer."""
        logits = yield from self._prefill()
        if logits is not None:
            first = self._decide([self._choose(logits)])
            self.meter.first_token()
            yield Step(tuple(first))
            while self.reason is None:
                if self.cancelled():
                    self.reason = "cancelled"
                    break
                yield self._round()
            self.session.remember()
        stats = self.meter.stats(len(self.decided), context_used=len(self.task.prompt) + len(self.decided))
        yield Finished(self.reason or "cancelled", tuple(self.decided), stats)

    def _prefill(self) -> Generator[PrefillProgress, None, Tensor | None]:
        """Bring the prompt into the caches in chunks; returns the last logits [1, V], None when cancelled."""
        prompt = list(self.task.prompt)
        total = len(prompt)
        done = cached = self.meter.cached_tokens = self.session.reuse(prompt)
        yield PrefillProgress(done, total, cached)
        logits: Tensor | None = None
        while done < total:
            if self.cancelled():
                return None
            chunk = prompt[done : done + self.task.prefill_chunk]
            logits = self.session.append(chunk, "last" if done + len(chunk) == total else "none")
            done += len(chunk)
            yield PrefillProgress(done, total, cached)
        self.session.remember()
        return logits

    def _round(self) -> Step:
        """One pass of the target."""
        position, anchor = self.session.length, self.decided[-1]
        block = self._draft(anchor)
        confidences = self.task.calibration.apply(block.confidences)
        drafts = block.ids[: verify_length(self.task.scheduler, confidences, self._draft_limit())]

        logits = self.session.verify([anchor, *drafts])
        accepted, following = self._accept(logits, block, drafts)
        kept = self._decide([*drafts[:accepted], following])
        self.session.settle(len(kept))

        accepted = min(accepted, len(kept))  # an end inside the block drops what follows it
        self.meter.round(drafted=len(block.ids), verified=len(drafts), accepted=accepted)
        event = RoundDone(
            position=position,
            anchor=anchor,
            draft_ids=tuple(block.ids),
            confidences=tuple(block.confidences),
            verified=len(drafts),
            accepted=accepted,
            context_used=len(self.task.prompt) + len(self.decided),
        )
        return Step(tuple(kept), event)

    def _draft_limit(self) -> int:
        """Drafts worth verifying: the round adds a token of its own, and nothing past the budget is ever run."""
        return min(self.session.longest_draft, self.budget - len(self.decided) - 1)

    def _draft(self, anchor: int) -> DraftBlock:
        if self._draft_limit() < 1 or not self.task.scheduler.wants_draft():
            return DraftBlock([], [], [])
        return self.session.draft(anchor, self._draft_sampler())

    def _draft_sampler(self) -> DraftSampler:
        """Drafts are drawn as the target's tokens will be: the closer the two, the more is kept."""
        drafted: list[int] = []

        def sample(slot: int, logits: Tensor) -> tuple[int, Tensor | None]:
            row = logits.unsqueeze(0)
            if self.task.sampling.is_greedy:
                token, proposal = self.processor.best(row, drafted)[0], None
            else:
                proposal = self.processor.probabilities(row, drafted)[0]
                token = draw(proposal, self.generator)
            drafted.append(token)
            return token, proposal

        return sample

    def _choose(self, logits: Tensor) -> int:
        """The token after logits [1, V]."""
        return self._accept(logits, DraftBlock([], [], []), [])[1]

    def _accept(self, logits: Tensor, block: DraftBlock, drafts: list[int]) -> tuple[int, int]:
        if self.task.sampling.is_greedy:
            return accept_greedy(self.processor.best(logits, drafts), drafts)
        probabilities = self.processor.probabilities(logits, drafts)
        return accept(probabilities, block.probabilities[: len(drafts)], drafts, self.generator)

    def _decide(self, tokens: list[int]) -> list[int]:
        """Add tokens to the answer up to the one that ends it; returns those added."""
        kept: list[int] = []
        for token in tokens:
            kept.append(token)
            if (token in self.task.end_ids and not self.task.sampling.ignore_eos) or self.task.watch(token):
                self.reason = "stop"
            elif len(self.decided) + len(kept) == self.budget:
                self.reason = "length"
            if self.reason is not None:
                break
        self.decided.extend(kept)
        self.processor.append(kept)
        return kept
