"""Algorithm 1 of the DSpark paper: divide one pass among requests so that the pass decides the most tokens a second.

Drafts of all requests are taken in the order of their survival, as long as each raises the expected tokens a second.
The walk stops at the first that does not: looking past it would let a draft's own value decide on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.engine.scheduling import Slot
from dspark_local.engine.step_costs import StepCosts


class PrefixScheduler:
    """Algorithm 1 with a measured curve. One instance a pass.

    draft_seconds is spent whatever is verified; it belongs to the pass.
    """

    def __init__(self, costs: StepCosts, *, sequences: int, context: int, draft_seconds: float) -> None:
        self._costs = costs
        self._sequences = sequences
        self._context = context
        self._draft_seconds = draft_seconds

    def choose(self, frontier: Sequence[Slot], rows: int, tokens: float) -> Slot | None:
        """See JointScheduler."""
        best = max(frontier, key=lambda slot: slot.survival)
        pays = self.rate(tokens + best.survival, rows + 1) > self.rate(tokens, rows)
        return best if pays else None

    def rate(self, tokens: float, rows: int) -> float:
        """Tokens a second of a pass of `rows` that decides `tokens`."""
        seconds = self._costs.verify_seconds(rows, sequences=self._sequences, context=self._context)
        return tokens / (self._draft_seconds + seconds)
