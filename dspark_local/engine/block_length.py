"""Longer blocks while confidence stays high.

A draft can be asked for more slots than it was trained with. As long as whole blocks are worth verifying and are kept,
the next asks for more; a block that was not worth it to its end makes the next one shorter again, down to the draft's
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

    def note_block(self, slots: int, verified: int, accepted: int) -> None:
        """A block of `slots` was drafted, `verified` of them were worth their rows, `accepted` were kept."""
        if accepted >= slots:
            self.current = min(self.current + 1, self._most)
        elif verified < slots:
            self.current = max(self.current - 1, self._least)
