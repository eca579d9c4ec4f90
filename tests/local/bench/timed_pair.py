"""A pair of fakes on a clock that only they move, so that every figure of a benchmark can be foretold."""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.bench.conversations import Pair
from dspark_local.engine.calibration import Calibration
from dspark_models.experts import ByteLedger
from dspark_models.protocols import DraftBlock, DraftRequest, Run, RunOutput
from tests.fakes import FakeDrafter, FakeTarget, random_table

PLAIN_SECONDS = 0.01
DRAFT_SECONDS = 0.002
PREFILL_SECONDS = 0.5
EXPERT_BYTES = 1000


class ManualClock:
    """Shows what was added to it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class CountingStore:
    """No experts, only their ledger."""

    def __init__(self) -> None:
        self.ledger = ByteLedger()


class TimedTarget(FakeTarget):
    """N rows take 1 + slope (N - 1) plain passes and fetch as many experts; a prefill pass takes half a second."""

    def __init__(self, clock: ManualClock, *, slope: float) -> None:
        super().__init__(random_table(997, 50, 1), rewind_span=26)
        self.store = CountingStore()
        self._clock = clock
        self._slope = slope

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        rows = sum(len(run.token_ids) for run in runs)
        is_prefill = all(run.logits != "all" for run in runs)
        self._clock.seconds += PREFILL_SECONDS if is_prefill else PLAIN_SECONDS * (1.0 + self._slope * (rows - 1))
        self.store.ledger.fetched_bytes += EXPERT_BYTES * rows
        return super().forward(runs)


class TimedDrafter(FakeDrafter):
    """Right `skill` times in 100 and sure of just that."""

    def __init__(self, target: FakeTarget, clock: ManualClock, *, skill: int) -> None:
        super().__init__(target, random_table(991, 50, 2), skill=skill)
        self._clock = clock
        self._confidence = min(skill / 100, 0.999)

    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        self._clock.seconds += DRAFT_SECONDS
        blocks = super().draft(requests)
        return [block._replace(confidences=[self._confidence] * len(block.ids)) for block in blocks]


def timed_pair(*, slope: float = 0.1, skill: int = 90) -> Pair:
    """Blocks of five drafts."""
    clock = ManualClock()
    target = TimedTarget(clock, slope=slope)
    return Pair(target, TimedDrafter(target, clock, skill=skill), Calibration(), frozenset(), clock)


PROMPTS = ((3, 14, 15, 9), (2, 6, 5, 35), (8, 9, 7, 9, 3))
