"""Algorithm 1 of the DSpark paper: divide one pass among requests so that the pass decides the most tokens a second.

Drafts of all requests are taken in the order of their survival, as long as each raises the expected tokens a second.
The walk stops at the first that does not: looking past it would let a draft's own value decide on it.

`AheadOfTime` is the paper's form for a step whose width must be known before it is launched: the number of drafts comes
from an earlier step, by a search over all numbers (old values cannot depend on today's tokens), and present confidences
only rank which drafts fill it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from dspark_local.engine.scheduling import Slot
from dspark_local.engine.step_costs import StepCosts

STEPS_AHEAD = 2
"""How many steps old the confidences are that set a step's width: enough for a host that runs one step ahead."""


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


class AheadOfTime:
    """Fills a width that was fixed `STEPS_AHEAD` steps ago; see the file's text.

    `begin` and then `plan` are called once a step.
    """

    def __init__(self) -> None:
        self._widths: deque[int] = deque(maxlen=STEPS_AHEAD)
        self._left = 0

    @property
    def width(self) -> int:
        """Drafts that the coming step verifies in all; 0 until enough steps have been seen."""
        return self._widths[0] if len(self._widths) == STEPS_AHEAD else 0

    def begin(self) -> None:
        """A step starts: its width is spent by choose."""
        self._left = self.width

    def choose(self, frontier: Sequence[Slot], rows: int, tokens: float) -> Slot | None:
        """See JointScheduler: the surest drafts, up to the width."""
        if self._left < 1:
            return None
        self._left -= 1
        return max(frontier, key=lambda slot: slot.survival)

    def plan(self, blocks: Sequence[Sequence[float]], rate: PrefixScheduler, rows: int) -> None:
        """Set the width of a later step from this one's blocks, the best of all numbers; rows without any draft."""
        survivals = (survival for block in blocks for survival in accumulate(block, mul))
        best_rate, best, tokens = rate.rate(float(rows), rows), 0, float(rows)
        for number, survival in enumerate(sorted(survivals, reverse=True), start=1):
            tokens += survival
            if (here := rate.rate(tokens, rows + number)) > best_rate:
                best_rate, best = here, number
        self._widths.append(best)
