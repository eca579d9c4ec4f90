"""Longer blocks while confidence stays high.

A draft can be asked for more slots than it was trained with. As long as whole blocks are kept and a further slot would
pay for its drafting and verifying, the next block asks for more; otherwise it gets shorter again, down to the draft's
own size. Only rounds that are over decide, so no draft has a say in its own admission.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_FACTOR = 2
"""Slots at most, in blocks: on the demo pair, trained with 5, slots 6 to 8 are kept in half of all rounds, 11 and 12
hardly ever."""


class BlockLength:
    """How many slots the next block has."""

    def __init__(self, block_size: int) -> None:
        self._least = block_size
        self._most = LONGEST_FACTOR * block_size
        self.current = block_size

    def note_block(self, slots: int, accepted: int, *, pays: bool) -> None:
        """A block of `slots` was drafted and `accepted` of them kept; pays: one more would have been worth its cost."""
        if not pays:
            self.current = max(self.current - 1, self._least)
        elif accepted >= slots:
            self.current = min(self.current + 1, self._most)


class ExtraSlots:
    """What confidences beyond the trained block are worth: the share of what they promise that is kept, by slot.

    The confidence head never saw these slots and stays as sure in them as before. On the demo pair slot 7 is kept in 73
    of 100 cases where it says 94, slot 8 in 51.
    """

    _PRIOR_SHARE = 0.8
    _PRIOR_WEIGHT = 6.0

    def __init__(self) -> None:
        self._promised: list[float] = []
        self._kept: list[float] = []

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """confidences [K] of the slots after the trained ones, each times its slot's share, never raised."""
        while len(self._promised) < len(confidences):
            self._promised.append(self._PRIOR_WEIGHT)
            self._kept.append(self._PRIOR_WEIGHT * self._PRIOR_SHARE)
        shares = zip(self._kept, self._promised, strict=True)
        return [min(c * kept / promised, c) for c, (kept, promised) in zip(confidences, shares, strict=False)]

    def observe(self, confidences: Sequence[float], verified: int, accepted: int) -> None:
        """Of extra slots with these raw confidences `verified` were checked and the first `accepted` kept."""
        self.apply(confidences)
        for slot in range(min(accepted + 1, verified)):
            self._promised[slot] += confidences[slot]
            self._kept[slot] += slot < accepted
