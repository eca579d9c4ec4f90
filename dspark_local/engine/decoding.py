"""The state of one answer, between the passes that several answers may share.

Terms. The anchor is the last decided token; it was shown to the user but no pass has seen it yet. With n tokens in the
caches it stands at position n. A round runs the anchor and k drafts at positions n .. n + k; row i of the logits is the
target's distribution after draft i - 1. With `a` drafts kept, the round decides a + 1 tokens (the target's own comes
last), the caches keep the anchor and those a drafts, and the new token is the next anchor. Plain decoding is k = 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from torch import Tensor

from dspark_local.backend import Cancelled
from dspark_local.engine.accept import accept, accept_greedy
from dspark_local.engine.logprobs import score_rows
from dspark_local.engine.meter import Clock, Meter
from dspark_local.engine.prompt_lookup import LONGEST_LOOKUP, LookupIndex, LookupTrust, Match
from dspark_local.engine.sampling import LogitsProcessor, PositionNoise, draw, seeded_generator
from dspark_local.engine.scheduling import RoundOutcome
from dspark_local.engine.session import Session
from dspark_local.engine.task import Step, Task, check_bias
from dspark_local.events import DraftSource, Finished, FinishReason, PrefillProgress, RoundDone
from dspark_models.protocols import DraftBlock, DraftSampler

LEAST_SURVIVAL_TO_EXTEND = 0.2
"""A block less likely than this to be kept whole is not gone on with: hardly any row behind it would be worth it."""


class PassCost(NamedTuple):
    """What a shared pass took: seconds of drafting and of the rest, rows and sequences in all."""

    draft_seconds: float
    verify_seconds: float
    rows: int
    sequences: int


@dataclass(slots=True)
class Proposal:
    """The drafts of a round. The first `own` come from the model's draft, the others from the text.

    raw are the confidences as proposed, confidences the calibrated ones; probabilities as in DraftBlock.
    """

    source: DraftSource = "none"
    ids: list[int] = field(default_factory=list)
    probabilities: list[Tensor | None] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    own: int = 0
    match_length: int = 0

    def add_block(self, block: DraftBlock, calibrated: Sequence[float]) -> None:
        """What the model's draft says."""
        self.ids += block.ids
        self.probabilities += block.probabilities
        self.raw += block.confidences
        self.confidences += calibrated
        self.own = len(block.ids)

    def add_match(self, match: Match, trust: LookupTrust) -> None:
        """What the text says; certain tokens, as nothing was drawn."""
        confidences = trust.confidences(match.length, len(match.ids))
        self.ids += match.ids
        self.probabilities += [None] * len(match.ids)
        self.raw += confidences
        self.confidences += confidences
        self.match_length = match.length


class Decoding:
    """One answer on its way. `clock` gives seconds."""

    def __init__(self, session: Session, task: Task, cancelled: Cancelled, clock: Clock) -> None:
        self.session = session
        self.task = task
        self.cancelled = cancelled
        check_bias(task.sampling, session.target.vocab_size)
        self.processor = LogitsProcessor(task.sampling, task.prompt, task.constraint)
        self.generator = seeded_generator(task.sampling.seed)
        seed = task.sampling.seed
        self.noise = PositionNoise(seed) if seed is not None and task.repeatable else None
        self.meter = Meter(len(task.prompt), session.target.context_length, clock)
        self.decided: list[int] = []
        room = session.target.context_length - len(task.prompt)
        self.budget = min(room, task.sampling.max_tokens or room)
        self.reason: FinishReason | None = None
        self.proposal = Proposal()
        self._accepted = 0
        self._block_size = session.drafter.block_size if session.drafter is not None else 0
        self._index = LookupIndex(task.prompt) if task.scheduler.uses_lookup else None

    def start(self) -> Iterator[PrefillProgress | Step]:
        """Bring the prompt into the caches in chunks and decide the token after it, unless cancelled on the way."""
        prompt = list(self.task.prompt)
        total = len(prompt)
        done = cached = self.meter.cached_tokens = self.session.reuse(prompt)
        yield PrefillProgress(done, total, cached)
        logits: Tensor | None = None
        while done < total:
            if self.cancelled():
                self.reason = "cancelled"
                return
            chunk = prompt[done : done + self.task.prefill_chunk]
            logits = self.session.append(chunk, "last" if done + len(chunk) == total else "none")
            done += len(chunk)
            yield PrefillProgress(done, total, cached)
        self.session.remember()
        if logits is not None:  # always: a reuse leaves the last token to be run
            first = self._decide([self._accept(logits, 0)[1]], logits)
            self.meter.first_token()
            yield Step(tuple(first))

    def finish(self) -> Finished:
        """The end of the answer, however it came."""
        context_used = len(self.task.prompt) + len(self.decided)
        stats = self.meter.stats(len(self.decided), context_used, self.task.scheduler.state)
        return Finished(self.reason or "cancelled", tuple(self.decided), stats)

    @property
    def anchor(self) -> int:
        """The last decided token."""
        return self.decided[-1]

    @property
    def draft_limit(self) -> int:
        """Drafts that a round may verify: it adds a token of its own, and nothing past the budget is ever run."""
        most = min(LONGEST_LOOKUP, self.session.target.rewind_span)
        return max(0, min(most, self.budget - len(self.decided) - 1))

    def choose_source(self) -> DraftSource:
        """Begin a round: where its drafts come from. Drafts found in the text are in the proposal at once."""
        self.proposal = Proposal()
        if self.draft_limit < 1:
            return "none"
        found = Proposal()
        if self._index is not None:
            found.add_match(self._index.find(limit=self.draft_limit), self.session.lookup_trust)
        source = self.task.scheduler.choose_source(found.confidences, self.session.length)
        if source == "draft" and self.session.drafter is None:
            source = "none"
        if source == "lookup":
            self.proposal = found
        self.proposal.source = source
        return source

    @property
    def draft_slots(self) -> int:
        """How many drafts to ask the model's draft for."""
        return self.task.scheduler.draft_slots(self._block_size)

    def take_block(self, block: DraftBlock) -> None:
        """The model's draft; where the text goes on from it, the text lengthens it."""
        trained, beyond = block.confidences[: self._block_size], block.confidences[self._block_size :]
        calibrated = [*self.task.calibration.apply(trained), *self.session.extra_slots.apply(beyond)]
        self.proposal.add_block(block, calibrated)
        room = self.draft_limit > len(block.ids) and prod(calibrated) >= LEAST_SURVIVAL_TO_EXTEND
        if self._index is not None and room:
            match = self._index.find(block.ids, self.draft_limit - len(block.ids))
            self.proposal.add_match(match, self.session.lookup_trust)

    def draft_sampler(self) -> DraftSampler:
        """Drafts are drawn as the target's tokens will be: the closer the two, the more is kept."""
        drafted: list[int] = []

        def sample(slot: int, logits: Tensor) -> tuple[int, Tensor | None]:
            row = logits.unsqueeze(0)
            proposal: Tensor | None = None
            if self.task.sampling.is_greedy:
                token = self.processor.best(row, drafted)[0]
            else:
                proposal = self.processor.probabilities(row, drafted)[0]
                if self.noise is not None:
                    [token] = self.noise.choose(proposal.unsqueeze(0), len(self.decided) + slot)
                    proposal = None
                else:
                    token = draw(proposal, self.generator)
            drafted.append(token)
            return token, proposal

        return sample

    def conclude(self, logits: Tensor, verified: int) -> list[int]:
        """Accept what the verify pass of `verified` drafts says, logits [verified + 1, V]; returns the tokens."""
        self._accepted, following = self._accept(logits, verified)
        kept = self._decide([*self.proposal.ids[: self._accepted], following], logits)
        self.session.settle(len(kept))
        return kept

    def report(self, kept: Sequence[int], verified: int, cost: PassCost) -> Step:
        """Let everything that learns learn from the round, and describe it."""
        proposal, accepted = self.proposal, self._accepted
        # What an end inside the block cuts off was never asked for: it teaches nothing.
        self._learn_confidences(min(verified, len(kept)), min(accepted, len(kept)))
        agreed = len(proposal.ids) >= len(kept) and proposal.ids[len(kept) - 1] == kept[-1]
        position = self.session.length - len(kept)
        self.task.scheduler.observe(
            RoundOutcome(
                source=proposal.source,
                confidences=tuple(proposal.confidences),
                own=proposal.own,
                verified=verified,
                accepted=accepted,
                tokens=len(kept),
                agreed=agreed,
                draft_seconds=cost.draft_seconds if proposal.source == "draft" else 0.0,
                verify_seconds=cost.verify_seconds,
                rows=cost.rows,
                sequences=cost.sequences,
                context=position,
            )
        )
        shown = min(accepted, len(kept))  # an end inside the block drops what follows it
        self.meter.round(drafted=len(proposal.ids), verified=verified, accepted=shown)
        event = RoundDone(
            position=position,
            anchor=self.decided[-len(kept) - 1],
            draft_ids=tuple(proposal.ids),
            confidences=tuple(proposal.raw),
            verified=verified,
            accepted=shown,
            context_used=len(self.task.prompt) + len(self.decided),
            source=proposal.source,
            draft_seconds=cost.draft_seconds,
            verify_seconds=cost.verify_seconds,
            speculation=self.task.scheduler.state,
            token_ids=tuple(kept),
            copied=len(proposal.ids) - proposal.own,
        )
        return Step(tuple(kept), event)

    def _learn_confidences(self, verified: int, accepted: int) -> None:
        """Tell each part of the proposal what became of it: the trained slots, those beyond, the text's."""
        raw, own, trained = self.proposal.raw, self.proposal.own, min(self.proposal.own, self._block_size)

        def of_text(raw: Sequence[float], verified: int, accepted: int) -> None:
            self.session.lookup_trust.observe(self.proposal.match_length, verified, accepted)

        def of_draft(raw: Sequence[float], verified: int, accepted: int) -> None:
            if not self.processor.reshapes:  # else it is the mask or the bias that spoke, not the draft's skill
                self.task.learn(raw, verified, accepted)

        parts = (
            (0, trained, of_draft),
            (trained, own, self.session.extra_slots.observe),
            (own, len(raw), of_text),
        )
        for begin, end, learn in parts:
            if min(end, verified) > begin and accepted >= begin:
                learn(raw[begin:end], min(end, verified) - begin, min(end, accepted) - begin)

    def _accept(self, logits: Tensor, verified: int) -> tuple[int, int]:
        drafts = self.proposal.ids[:verified]
        if self.task.sampling.is_greedy:
            return accept_greedy(self.processor.best(logits, drafts), drafts)
        probabilities = self.processor.probabilities(logits, drafts)
        if self.noise is not None:
            return accept_greedy(self.noise.choose(probabilities, len(self.decided)), drafts)
        return accept(probabilities, self.proposal.probabilities[:verified], drafts, self.generator)

    def _decide(self, tokens: list[int], logits: Tensor) -> list[int]:
        """Add tokens, decided from rows of logits, to the answer up to the one that ends it; returns those added."""
        top = self.task.top_logprobs
        scores = score_rows(logits, tokens, top) if top is not None else []
        kept: list[int] = []
        for index, token in enumerate(tokens):
            kept.append(token)
            if scores:
                self.task.scored(scores[index])
            if (token in self.task.end_ids and not self.task.sampling.ignore_eos) or self.task.watch(token):
                self.reason = "stop"
            elif len(self.decided) + len(kept) == self.budget:
                self.reason = "length"
            if self.reason is not None:
                break
        self.decided.extend(kept)
        self.processor.append(kept)
        if self._index is not None:
            self._index.extend(kept)
        return kept
