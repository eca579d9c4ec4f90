"""Widths that are known before a pass is launched, so that a GPU never waits for the host to read confidences.

The number of drafts comes from blocks at least STEPS_AHEAD steps old, by a search over all numbers: old values cannot
depend on today's tokens, so no early stop is needed (DSpark paper, the scheduler in production). Several requests share
the number, and present confidences only rank which drafts fill it. For one request there is nothing to rank, and one
old block says little about the next, so its width follows the mean survival of many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from dspark_local.engine.marginal_rate import RowSeconds
from dspark_local.engine.prefix_schedule import PrefixScheduler
from dspark_local.engine.scheduling import Slot

STEPS_AHEAD = 2
"""How old the confidences are that set a step's width: enough for a host that runs one step ahead."""

_HORIZON = 24.0


class WidthAhead:
    """The width of one request's passes: what has been best on average, up to STEPS_AHEAD blocks ago."""

    def __init__(self, block_size: int) -> None:
        """Begins with whole blocks: narrow ones would make drafting look worthless before anything is known."""
        self._survivals: list[float] = []
        self._blocks = 0
        self._widths: deque[int] = deque([block_size] * STEPS_AHEAD, maxlen=STEPS_AHEAD)

    @property
    def current(self) -> int:
        """How many drafts the coming pass verifies."""
        return self._widths[0]

    @property
    def latest(self) -> int:
        """The width that the blocks seen so far speak for."""
        return self._widths[-1]

    def note_block(self, confidences: Sequence[float], *, rate: float, seconds: RowSeconds) -> None:
        """A block with these calibrated confidences was drafted; rate and seconds as in marginal_rate."""
        self._blocks += 1
        for slot, survival in enumerate(accumulate(confidences, mul)):
            if slot == len(self._survivals):
                self._survivals.append(survival)
            self._survivals[slot] += (survival - self._survivals[slot]) / min(self._blocks, _HORIZON)
        values = accumulate(self._survivals)
        gains = [value - rate * (seconds(slot + 2) - seconds(1)) for slot, value in enumerate(values)]
        best = max(range(len(gains)), key=gains.__getitem__)
        self._widths.append(best + 1 if gains[best] > 0.0 else 0)


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
