"""Bookkeeping of the sequences that a model holds caches for: which slots are taken and how long each one is."""

from __future__ import annotations


class SequenceTable:
    """Hands out slots 0 .. count - 1 and remembers their lengths in tokens."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lengths: dict[int, int] = {}

    def reserve(self) -> int:
        """A free slot, empty; RuntimeError when all are taken."""
        for slot in range(self.count):
            if slot not in self._lengths:
                self._lengths[slot] = 0
                return slot
        raise RuntimeError(f"All {self.count} sequences of this model are in use")

    def free(self, slot: int) -> None:
        """Give a slot back."""
        del self._lengths[slot]

    def length(self, slot: int) -> int:
        """Tokens in the slot; KeyError for a slot that is not reserved."""
        return self._lengths[slot]

    def set_length(self, slot: int, length: int) -> None:
        """Record the length after an append, a rewind or a restore."""
        self._lengths[slot] = length

    def check_rewind(self, slot: int, length: int, span: int) -> None:
        """ValueError unless `length` is from the present length back to `span` tokens before it."""
        present = self._lengths[slot]
        if not max(0, present - span) <= length <= present:
            raise ValueError(f"cannot rewind from {present} to {length}: at most {span} tokens back")
