"""One conversation a way, each with what it has learnt so far, on the caches of two sequences.

It goes the way of a real answer, session, schedulers and generation loop included. The caches are shared in turn, and
cleared between answers; gates, running means and costs belong to one way and carry over from prompt to prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from dspark_local.bench.answers import Answer, Pass
from dspark_local.bench.ways import Way
from dspark_local.engine.block_length import ExtraSlots
from dspark_local.engine.calibration import Calibration
from dspark_local.engine.generate import generate
from dspark_local.engine.meter import Clock
from dspark_local.engine.prompt_lookup import LookupTrust
from dspark_local.engine.session import Session
from dspark_local.engine.speculation import Speculation
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Step, Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from dspark_models.experts import ByteLedger
from dspark_models.protocols import Drafter, Target


class Pair(NamedTuple):
    """A target and its draft, what else an answer needs, and the clock that it is measured by."""

    target: Target
    drafter: Drafter
    calibration: Calibration
    end_ids: frozenset[int]
    clock: Clock

    @property
    def ledgers(self) -> list[ByteLedger]:
        """Of the experts of both; none where the target keeps none."""
        stores = [getattr(part, "store", None) for part in (self.target, self.drafter)]
        return [store.ledger for store in stores if store is not None] if stores[0] is not None else []


class Conversations:
    """Holds two sequences of the pair until closed. costs are, by name, those of each way that weighs them."""

    def __init__(self, pair: Pair, costs: Mapping[str, StepCosts]) -> None:
        self._pair = pair
        self._costs = costs
        self._speculation = Speculation(pair.drafter.block_size, pair.calibration)
        self._bare = Session(pair.target)
        self._drafting = Session(pair.target, pair.drafter)
        self._learnt: dict[str, tuple[LookupTrust, ExtraSlots]] = {}

    def answer(self, way: Way, prompt: Sequence[int], sampling: SamplingSettings) -> Answer:
        """Decode one prompt afresh. Errors as generate."""
        session = self._bare if way.settings.mode == "off" else self._drafting
        session.clear()
        # One session serves several ways, but none may profit from what another has learnt.
        session.lookup_trust, session.extra_slots = self._learnt.setdefault(way.name, (LookupTrust(), ExtraSlots()))
        costs = self._costs[way.name] if way.weighs_costs else None
        equipment = self._speculation.equip(session, way.settings, sampling.temperature, costs)
        task = Task(
            prompt,
            sampling,
            scheduler=equipment.scheduler,
            calibration=equipment.calibration,
            end_ids=self._pair.end_ids,
            learn=equipment.learn,
        )
        passes: list[Pass] = []
        fetched_before = 0
        done = Finished("cancelled", ())
        for progress in generate(session, task, costs=costs, clock=self._pair.clock):
            if isinstance(progress, Finished):
                done = progress
            elif isinstance(progress, Step) and progress.round is None:
                fetched_before = self._fetched_bytes()  # the prefill's
            elif isinstance(progress, Step) and progress.round is not None:
                event = progress.round
                size = len(progress.token_ids)
                passes.append(Pass(event.source, event.verified, size, event.draft_seconds, event.verify_seconds))
        return Answer(
            token_ids=done.token_ids,
            passes=tuple(passes),
            verified=done.stats.verified_tokens,
            accepted=done.stats.accepted_tokens,
            seconds=done.stats.decode_seconds,
            expert_bytes=self._fetched_bytes() - fetched_before if self._pair.ledgers else None,
        )

    def close(self) -> None:
        """Give the sequences back."""
        self._bare.close()
        self._drafting.close()

    def __enter__(self) -> Conversations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetched_bytes(self) -> int:
        return sum(ledger.fetched_bytes for ledger in self._pair.ledgers)
