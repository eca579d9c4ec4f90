"""How many drafted tokens a round verifies.

The question is asked slot by slot, and at slot k only confidences 0..k are shown. Confidence k is computed from the
tokens before draft k, so nobody can admit or drop a draft because of what it turned out to be. A rule that saw the
whole block could, and would then bias the output: DSpark paper, section on the hardware-aware scheduler; tests show it.
Rows that a limit of length cuts off (max_tokens, context) depend on counts alone.

A scheduler that knows measured costs plugs in here: Algorithm 1 of the paper walks the same slots and stops at the
first one that does not pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dspark_local.request import SpeculationSettings

AUTO_LEAST_SURVIVAL = 0.3
"""What auto asks of a draft while no costs are measured: a chance of 3 in 10 to be reached and kept.

It pays wherever one more row costs less than about 0.3 of a pass of one row, which holds when weights, not arithmetic,
bound a pass.
"""


class Scheduler(Protocol):
    """Decides on every draft of a round in turn."""

    def wants_draft(self) -> bool:
        """Asked before the draft runs; False saves its cost and verifies nothing."""
        ...

    def admits(self, confidences: Sequence[float]) -> bool:
        """Whether the draft of slot len(confidences) - 1 is verified, all earlier ones being admitted.

        confidences are calibrated, of slots 0 up to and including this one.
        """
        ...


class Off:
    """Plain decoding."""

    def wants_draft(self) -> bool:
        """Never."""
        return False

    def admits(self, confidences: Sequence[float]) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class Static:
    """Always the first `draft_tokens` of the block."""

    draft_tokens: int

    def wants_draft(self) -> bool:
        """Unless nothing would be verified."""
        return self.draft_tokens > 0

    def admits(self, confidences: Sequence[float]) -> bool:
        """By count alone."""
        return len(confidences) <= self.draft_tokens


@dataclass(frozen=True, slots=True)
class Threshold:
    """The prefix before the first confidence under `least`."""

    least: float

    def wants_draft(self) -> bool:
        """Always: confidences come from the draft."""
        return True

    def admits(self, confidences: Sequence[float]) -> bool:
        """By this slot's own confidence."""
        return confidences[-1] >= self.least


@dataclass(frozen=True, slots=True)
class Survival:
    """The prefix whose chance to survive as a whole, the product of its confidences, is at least `least`."""

    least: float = AUTO_LEAST_SURVIVAL

    def wants_draft(self) -> bool:
        """Always: confidences come from the draft."""
        return True

    def admits(self, confidences: Sequence[float]) -> bool:
        """By the product up to this slot."""
        return math.prod(confidences) >= self.least


def scheduler_for(settings: SpeculationSettings) -> Scheduler:
    """The scheduler that a request asks for. auto is Survival until costs are measured."""
    if settings.mode == "off":
        return Off()
    if settings.mode == "static":
        return Static(settings.draft_tokens)
    if settings.mode == "threshold":
        return Threshold(settings.threshold)
    return Survival()


def verify_length(scheduler: Scheduler, confidences: Sequence[float], limit: int) -> int:
    """How many drafts of a block to verify, at most `limit`; confidences [K] calibrated."""
    for slot in range(min(limit, len(confidences))):
        if not scheduler.admits(confidences[: slot + 1]):
            return slot
    return min(limit, len(confidences))
