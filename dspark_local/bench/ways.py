"""The ways of decoding that are compared."""

from __future__ import annotations

from typing import NamedTuple

from dspark_local.request import SpeculationSettings

PLAIN = "plain"
SCHEDULED = "scheduled"
AHEAD = "ahead"
BOUND = "bound"
"""A row of the table that is no way of decoding but the clairvoyant bound of those that draft: see clairvoyant.py."""


class Way(NamedTuple):
    """A name for the table, and what a request would ask for."""

    name: str
    settings: SpeculationSettings

    @property
    def weighs_costs(self) -> bool:
        """Whether it needs to know what passes cost."""
        return self.settings.mode in ("auto", "ahead")


def always(draft_tokens: int) -> str:
    """The name of the way that verifies so many drafts in every round."""
    return f"always {draft_tokens}"


def ways_of(block_size: int, threshold: float) -> tuple[Way, ...]:
    """Plain decoding first, then every fixed number of drafts of a block, a threshold, and what is scheduled."""
    fixed = (Way(always(k), SpeculationSettings("static", draft_tokens=k)) for k in range(1, block_size + 1))
    return (
        Way(PLAIN, SpeculationSettings("off")),
        *fixed,
        Way(f"threshold {threshold:g}", SpeculationSettings("threshold", threshold=threshold)),
        Way(SCHEDULED, SpeculationSettings("auto")),
        Way(AHEAD, SpeculationSettings("ahead")),
    )
