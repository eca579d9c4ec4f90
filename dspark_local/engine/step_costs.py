"""What a pass costs, in seconds, by what it runs: measured, never modelled.

Two curves for every range of context lengths: a target pass by the rows it verifies, a draft pass by the slots it
drafts. Points that were measured are kept as they are, jagged steps and all; between them the line, beyond them
the last slope. Every real pass refreshes them, in two parts: one common speed (the machine got faster or slower, all
points move) and the point's own place on the curve (slower to move).

Nothing here knows why a row costs what it costs: attention, arithmetic, experts that must be fetched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SPEED_RATE = 0.12
POINT_RATE = 0.06
OUTLIER = 3.0
"""A pass that took this many times longer or shorter than expected says no more than one that took OUTLIER times."""

_SHORT_CONTEXT_BITS = 10  # one range for all contexts below 1,024 tokens, then one for every doubling


class Curve:
    """Seconds by a whole number from 1 up (rows, slots), with one common speed."""

    def __init__(self, points: Mapping[int, float], *, speed: float = 1.0) -> None:
        if not points or min(points) < 1 or not all(0.0 < s < math.inf for s in points.values()):
            raise ValueError(f"a curve needs points from 1 up with seconds above 0, got {dict(points)}")
        self.speed = speed
        self.points = dict(sorted(points.items()))

    def seconds(self, count: int) -> float:
        """Expected seconds of a pass of `count`, at least 1."""
        return self.speed * self._shape(count)

    def _shape(self, count: int) -> float:
        known = self.points.get(count)
        if known is not None:
            return known
        keys = list(self.points)
        if len(keys) == 1:
            return self.points[keys[0]]
        above = next((i for i, key in enumerate(keys) if key > count), len(keys) - 1)
        low, high = keys[max(above - 1, 0)], keys[max(above, 1)]
        slope = (self.points[high] - self.points[low]) / (high - low)
        if count > high:
            return self.points[high] + max(slope, 0.0) * (count - high)
        return self.points[low] + slope * (count - low)

    def note(self, count: int, seconds: float) -> None:
        """A real pass of `count` took `seconds`."""
        if not 0.0 < seconds < math.inf:
            return
        surprise = min(max(seconds / self.seconds(count), 1.0 / OUTLIER), OUTLIER)
        self.points[count] = self._shape(count) * surprise**POINT_RATE
        if list(self.points)[-1] == count:
            self.points = dict(sorted(self.points.items()))
        self.speed *= surprise**SPEED_RATE

    def copy(self) -> Curve:
        """An independent curve with the same points."""
        return Curve(self.points, speed=self.speed)

    def as_dict(self) -> dict[str, float]:
        """Seconds by count, speed included, for a JSON file."""
        return {str(count): self.speed * shape for count, shape in self.points.items()}


class StepCosts:
    """Seconds of target and draft passes on this machine, for this model and placement.

    verify {rows: seconds} of one sequence, draft {slots: seconds}; no draft costs nothing to run.
    """

    def __init__(self, verify: Mapping[int, float], draft: Mapping[int, float] | None = None) -> None:
        self._verify: dict[int, Curve] = {0: Curve(verify)}
        self._draft: dict[int, Curve] = {0: Curve(draft)} if draft else {}
        self._sequence_share = 0.0  # what one more sequence adds to a pass of the same rows, as a share

    def verify_seconds(self, rows: int, *, sequences: int = 1, context: int = 0) -> float:
        """A target pass of `rows` tokens in all, of `sequences` sequences, behind `context` cached tokens."""
        return self._near(self._verify, context).seconds(rows) * self._spread(sequences)

    def draft_seconds(self, slots: int, *, context: int = 0) -> float:
        """A draft pass of `slots` in all; 0 while none was ever measured."""
        return self._near(self._draft, context).seconds(slots) if self._draft else 0.0

    def note_verify(self, rows: int, seconds: float, *, sequences: int = 1, context: int = 0) -> None:
        """A real target pass. Passes of several sequences teach only what sequences add."""
        if sequences == 1:
            self._own(self._verify, context).note(rows, seconds)
            return
        alone = self._near(self._verify, context).seconds(rows)
        share = (min(max(seconds / alone, 1.0 / OUTLIER), OUTLIER) - 1.0) / (sequences - 1)
        self._sequence_share += POINT_RATE * (share - self._sequence_share)

    def note_draft(self, slots: int, seconds: float, *, context: int = 0) -> None:
        """A real draft pass."""
        if self._draft:
            self._own(self._draft, context).note(slots, seconds)
        elif 0.0 < seconds < math.inf:
            self._draft[0] = Curve({slots: seconds})

    def as_dict(self) -> dict[str, Any]:
        """Both curves of the shortest contexts, for a JSON file."""
        draft = self._draft[0].as_dict() if 0 in self._draft else {}
        return {"verify_seconds_by_rows": self._verify[0].as_dict(), "draft_seconds_by_slots": draft}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepCosts:
        """The inverse of as_dict. ValueError, KeyError, TypeError or AttributeError for anything else."""
        verify = {int(rows): float(s) for rows, s in data["verify_seconds_by_rows"].items()}
        draft = {int(slots): float(s) for slots, s in data["draft_seconds_by_slots"].items()}
        return cls(verify, draft)

    def _spread(self, sequences: int) -> float:
        return max(1.0 + self._sequence_share * (sequences - 1), 0.1)

    @staticmethod
    def _near(curves: dict[int, Curve], context: int) -> Curve:
        wanted = _range_of(context)
        return curves[min(curves, key=lambda known: abs(known - wanted))]

    def _own(self, curves: dict[int, Curve], context: int) -> Curve:
        """The curve of this range of contexts; a new one starts from its nearest neighbour."""
        wanted = _range_of(context)
        if wanted not in curves:
            curves[wanted] = self._near(curves, context).copy()
        return curves[wanted]


def _range_of(context: int) -> int:
    return max(context.bit_length() - _SHORT_CONTEXT_BITS, 0)
