"""How many drafted tokens a round verifies: the rules of one request, and the walk over several.

The question is asked slot by slot, and at slot k only confidences 0..k are shown. Confidence k is computed from the
tokens before draft k, so nobody can admit or drop a draft because of what it turned out to be. A rule that saw the
whole block could, and would then bias the output: DSpark paper, section on the hardware-aware scheduler; tests show it.
Rows that a limit of length cuts off (max_tokens, context) depend on counts alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dspark_local.events import DraftSource, SpeculationState


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """What one round of one request did, for rules that learn.

    confidences are the calibrated ones of the whole proposal, `own` of them of the model's draft; tokens is how many
    tokens were decided. agreed says that the first draft that was not kept was still the token decided in its place (it
    was not verified). seconds are those of the draft pass and of the rest, `rows` and `sequences` what the pass held in
    all, context the tokens before it.
    """

    source: DraftSource
    confidences: tuple[float, ...]
    own: int
    verified: int
    accepted: int
    tokens: int
    agreed: bool
    draft_seconds: float
    verify_seconds: float
    rows: int
    sequences: int
    context: int


class Scheduler(Protocol):
    """Decides on the proposals of one request, round by round. The defaults verify what the model's draft proposes."""

    uses_lookup: bool = False
    """Whether continuations found in the text may be proposed."""

    weighs_costs: bool = False
    """Whether several requests with such a rule divide a shared pass by what it costs, instead of each by its own."""

    def choose_source(self, lookup: Sequence[float], context: int) -> DraftSource:
        """Where this round's drafts come from; asked before anything is drafted, `none` saves the draft pass.

        lookup are the confidences of a continuation found in the text, empty if there is none; context the tokens
        in the cache.
        """
        return "draft"

    def draft_slots(self, block_size: int) -> int:
        """How many drafts to ask for; block_size is what the draft was trained with."""
        return block_size

    def admits(self, confidences: Sequence[float]) -> bool:
        """Whether the draft of slot len(confidences) - 1 is verified, all earlier ones being admitted.

        confidences are calibrated, of slots 0 up to and including this one.
        """
        ...

    def observe(self, outcome: RoundOutcome) -> None:
        """What became of the round."""
        return

    @property
    def state(self) -> SpeculationState:
        """What to tell the user."""
        return SpeculationState()


class Off(Scheduler):
    """Plain decoding."""

    def choose_source(self, lookup: Sequence[float], context: int) -> DraftSource:
        """Nowhere."""
        return "none"

    def admits(self, confidences: Sequence[float]) -> bool:
        """Never."""
        return False


class _Always(Scheduler):
    """Drafts in every round, and says so."""

    def __init__(self) -> None:
        self._verified = 0.0
        self._block_size = 0

    def observe(self, outcome: RoundOutcome) -> None:
        """Keep the mean of what was verified lately."""
        self._block_size = max(self._block_size, len(outcome.confidences))
        self._verified += 0.1 * (outcome.verified - self._verified)

    @property
    def state(self) -> SpeculationState:
        """Always on; nothing is compared."""
        return SpeculationState("on", self._verified, self._block_size)


class Static(_Always):
    """Always the first `draft_tokens` of the block."""

    def __init__(self, draft_tokens: int) -> None:
        super().__init__()
        self.draft_tokens = draft_tokens
        self._verified = float(draft_tokens)

    def choose_source(self, lookup: Sequence[float], context: int) -> DraftSource:
        """The draft, unless nothing would be verified."""
        return "draft" if self.draft_tokens > 0 else "none"

    def admits(self, confidences: Sequence[float]) -> bool:
        """By count alone."""
        return len(confidences) <= self.draft_tokens


class Threshold(_Always):
    """The prefix before the first confidence under `least`."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least

    def admits(self, confidences: Sequence[float]) -> bool:
        """By this slot's own confidence."""
        return confidences[-1] >= self.least


def verify_length(scheduler: Scheduler, confidences: Sequence[float], limit: int) -> int:
    """How many drafts of a block to verify, at most `limit`; confidences [K] calibrated."""
    for slot in range(min(limit, len(confidences))):
        if not scheduler.admits(confidences[: slot + 1]):
            return slot
    return min(limit, len(confidences))


class Slot(NamedTuple):
    """The next undecided draft of request number `request`: its confidence and those before it, calibrated."""

    request: int
    confidences: Sequence[float]

    @property
    def survival(self) -> float:
        """The chance that this draft is reached and kept."""
        return math.prod(self.confidences)


class JointScheduler(Protocol):
    """Divides one pass among several requests."""

    def choose(self, frontier: Sequence[Slot], rows: int, tokens: float) -> Slot | None:
        """Which draft of the frontier to verify as well, None to stop.

        rows are admitted so far, anchors included; tokens is what they are expected to decide.
        """
        ...


def schedule_jointly(
    scheduler: JointScheduler, blocks: Sequence[Sequence[float]], limits: Sequence[int], *, rows: int, tokens: float
) -> list[int]:
    """How many drafts of every block to verify, at most its limit.

    blocks hold calibrated confidences; rows and tokens are what the pass runs and is expected to decide without any of
    these drafts, every anchor counting as one of each. A slot's confidence is shown only once all before it in its
    block are admitted, whatever the scheduler does.
    """
    admitted = [0] * len(blocks)
    while True:
        frontier = [
            Slot(request, tuple(block[: admitted[request] + 1]))
            for request, block in enumerate(blocks)
            if admitted[request] < min(limits[request], len(block))
        ]
        choice = scheduler.choose(frontier, rows, tokens) if frontier else None
        if choice is None:
            return admitted
        admitted[choice.request] += 1
        rows += 1
        tokens += choice.survival
