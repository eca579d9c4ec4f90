"""Longer blocks while confidence stays high.

A draft can be asked for more slots than it was trained with. As long as whole blocks are kept and a further slot would
pay for its drafting and verifying, the next block asks for more; otherwise it gets shorter again, down to the draft's
own size. Only rounds that are over decide, so no draft has a say in its own admission.
"""

from __future__ import annotations

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
