"""Bookkeeping of the sequences that a model holds caches for: which slots are taken and how long each one is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Sequence:
    """length tokens are valid; rows up to position `furthest` have been written, rejected ones included."""

    length: int = 0
    furthest: int = 0


class SequenceTable:
    """Hands out slots 0 .. count - 1, remembers their lengths in tokens and how far back each may go."""

    def __init__(self, count: int, rewind_span: int) -> None:
        self.count = count
        self.rewind_span = rewind_span
        self._sequences: dict[int, _Sequence] = {}

    def reserve(self) -> int:
        """A free slot, empty; RuntimeError when all are taken."""
        for slot in range(self.count):
            if slot not in self._sequences:
                self._sequences[slot] = _Sequence()
                return slot
        raise RuntimeError(f"All {self.count} sequences of this model are in use")

    def free(self, slot: int) -> None:
        """Give a slot back."""
        del self._sequences[slot]

    def length(self, slot: int) -> int:
        """Tokens in the slot; KeyError for a slot that is not reserved."""
        return self._sequences[slot].length

    def furthest(self, slot: int) -> int:
        """The position after the last row ever written, those of rejected tokens included."""
        return self._sequences[slot].furthest

    def begin(self, slot: int, length: int) -> None:
        """Record that rows up to `length` are about to be written. ValueError when the slot is not in one piece.

        A pass that breaks off after this leaves the length as it was; if it was a long one, it has overwritten rows
        that the next pass would need.
        """
        sequence = self._sequences[slot]
        if sequence.length < sequence.furthest - self.rewind_span:
            raise ValueError(f"sequence {slot} was left in the middle of a pass: free it and start afresh")
        sequence.furthest = max(sequence.furthest, length)

    def extend(self, slot: int, length: int) -> None:
        """Record an append that ended at `length`."""
        sequence = self._sequences[slot]
        sequence.length = length
        sequence.furthest = max(sequence.furthest, length)

    def rewind(self, slot: int, length: int) -> None:
        """Go back to `length`. ValueError when rows it needs may have been overwritten.

        What counts is the furthest position ever written, not the present length: rows of rejected tokens overwrite
        the oldest rows of a ring too.
        """
        sequence = self._sequences[slot]
        if not max(0, sequence.furthest - self.rewind_span) <= length <= sequence.length:
            raise ValueError(
                f"cannot rewind from {sequence.length} to {length}: at most {self.rewind_span} tokens "
                f"behind position {sequence.furthest}, the furthest written"
            )
        sequence.length = length

    def restore(self, slot: int, length: int, furthest: int) -> None:
        """Record that all rows of the slot are as they were when these two numbers were read."""
        self._sequences[slot] = _Sequence(length, furthest)
