"""Cache rows addressed by absolute position, so that forgetting the newest ones needs no copy.

A ring of more rows than its readers look back keeps older rows intact while a drafted run is verified: going back
only moves the length, and stale rows are rewritten before they can be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class RowSpan(NamedTuple):
    """Consecutive rows [n, ...] of one sequence; the first one is at position `base`."""

    base: int
    rows: Tensor


class PositionRing:
    """[sequences, capacity, *row], row of position p in slot p mod capacity."""

    def __init__(
        self, sequences: int, capacity: int, row: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.capacity = capacity
        self.data = torch.zeros(sequences, capacity, *row, dtype=dtype, device=device)

    def extend(self, sequence: int, start: int, rows: Tensor, lookback: int) -> RowSpan:
        """Store rows [T, ...] at positions start.. and return them with up to `lookback` rows before them.

        The span is complete even when T is more than the ring holds.
        """
        span = self.span(sequence, start - lookback, start)
        together = RowSpan(span.base, torch.cat([span.rows, rows]))
        self.store(sequence, start, rows)
        return together

    def store(self, sequence: int, start: int, rows: Tensor) -> None:
        """Store rows [T, ...] at positions start..; of a run longer than the ring the newest remain."""
        kept = rows[-self.capacity :]
        first = start + rows.shape[0] - kept.shape[0]
        self.data[sequence, self._slots(first, first + kept.shape[0])] = kept

    def span(self, sequence: int, begin: int, end: int) -> RowSpan:
        """Rows of positions max(begin, 0) .. end - 1, which must still be in the ring."""
        base = max(begin, 0)
        return RowSpan(base, self.data[sequence, self._slots(base, end)])

    def _slots(self, begin: int, end: int) -> Tensor:
        return torch.arange(begin, end, device=self.data.device) % self.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all sequences."""
        return self.data.nbytes
