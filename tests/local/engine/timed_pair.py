"""A fake pair whose passes take known virtual times."""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.engine.session import Session
from dspark_models.protocols import DraftBlock, DraftRequest, Run, RunOutput
from tests.fakes import FakeDrafter, FakeTarget, random_table


class TimedPair:
    """The target's pass of N rows takes plain + row (N - 1) seconds, the draft's `slot` seconds for each slot.

    The draft is right with `skill` percent and says `confidence` of every token.
    """

    def __init__(
        self,
        *,
        plain: float = 0.1,
        row: float = 0.03,
        slot: float = 0.02,
        rewind_span: int = 32,
        skill: int = 70,
        confidence: float = 0.7,
    ) -> None:
        self.now = 0.0
        pair = self

        class Target(FakeTarget):
            def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
                pair.now += plain + row * (sum(len(run.token_ids) for run in runs) - 1)
                return super().forward(runs)

        class Drafter(FakeDrafter):
            def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
                pair.now += slot * sum(request.length or self.block_size for request in requests)
                blocks = super().draft(requests)
                return [block._replace(confidences=[confidence] * len(block.ids)) for block in blocks]

        self.target = Target(random_table(997, 40, 1), rewind_span=rewind_span)
        self.drafter = Drafter(self.target, random_table(991, 40, 2), skill=skill)

    def session(self) -> Session:
        return Session(self.target, self.drafter)

    def clock(self) -> float:
        return self.now
