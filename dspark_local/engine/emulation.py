"""Pretends that further rows of a target pass cost more, or less, than they do here.

A machine that must fetch experts for every row, or one whose passes cost the same however wide, is not always at hand;
what a schedule does there can still be seen. Everything runs for real, drafts, acceptance and caches included. Only the
clock is corrected after each pass that verifies, and whoever measures or learns reads that clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from dspark_local.engine.meter import Clock
from dspark_models.experts import ExpertStore
from dspark_models.protocols import Run, RunOutput, Target


class EmulatedClock:
    """Seconds of `base`, by default real ones, with corrections. Never runs backwards."""

    def __init__(self, base: Clock = time.perf_counter) -> None:
        self._base = base
        self._correction = 0.0

    def __call__(self) -> float:
        """Seconds, from any start."""
        return self._base() + self._correction

    def rewrite(self, began: float, seconds: float) -> None:
        """What happened since this clock showed `began` took `seconds`, at least 0, and now is the end of it."""
        self._correction = began + seconds - self._base()


class RowCostTarget:
    """Implements Target by delegation. A pass of N rows takes 1 + row_cost (N - 1) times plain_seconds on `clock`.

    Prefill passes, known by asking for no or the last logits, keep their real time. `store` is the target's own
    store of experts, None where it has none.
    """

    def __init__(self, target: Target, clock: EmulatedClock, *, row_cost: float, plain_seconds: float) -> None:
        if row_cost < 0.0 or plain_seconds <= 0.0:
            raise ValueError(f"row_cost must be 0 or more and plain_seconds above 0, got {row_cost}, {plain_seconds}")
        self.vocab_size = target.vocab_size
        self.context_length = target.context_length
        self.rewind_span = target.rewind_span
        self.store: ExpertStore | None = getattr(target, "store", None)
        self._target = target
        self._clock = clock
        self._row_cost = row_cost
        self._plain_seconds = plain_seconds

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        """See Target."""
        began = self._clock()
        outputs = self._target.forward(runs)
        if any(run.logits == "all" for run in runs):
            if any(output.logits.is_cuda for output in outputs):
                torch.cuda.synchronize()  # else the wait comes later, and would be counted beside the emulated pass
            rows = sum(len(run.token_ids) for run in runs)
            self._clock.rewrite(began, self._plain_seconds * (1.0 + self._row_cost * (rows - 1)))
        return outputs

    def new_sequence(self) -> int:
        """See Target."""
        return self._target.new_sequence()

    def free_sequence(self, sequence: int) -> None:
        """See Target."""
        self._target.free_sequence(sequence)

    def length(self, sequence: int) -> int:
        """See Target."""
        return self._target.length(sequence)

    def rewind(self, sequence: int, length: int) -> None:
        """See Target."""
        self._target.rewind(sequence, length)

    def snapshot(self, sequence: int) -> object:
        """See Target."""
        return self._target.snapshot(sequence)

    def restore(self, sequence: int, snapshot: object) -> None:
        """See Target."""
        self._target.restore(sequence, snapshot)

    def adopt(self, sequence: int, snapshot: object) -> None:
        """See Target."""
        self._target.adopt(sequence, snapshot)

    def bytes_held(self) -> dict[str, int]:
        """See Target."""
        return self._target.bytes_held()
