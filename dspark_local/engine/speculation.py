"""What an engine knows about speculating with its model: costs, calibration, and each conversation's own scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from dspark_local.engine.calibration import Calibration
from dspark_local.engine.calibration_store import OnlineStore
from dspark_local.engine.cost_store import CostStore
from dspark_local.engine.measure_costs import measure_costs
from dspark_local.engine.schedulers import scheduler_for
from dspark_local.engine.scheduling import Scheduler
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Calibrator
from dspark_local.request import SpeculationSettings


class Equipment(NamedTuple):
    """What a task needs to speculate: see Task."""

    scheduler: Scheduler
    calibration: Calibrator
    learn: Callable[[Sequence[float], int, int], None]


class Speculation:
    """Costs are measured when first needed, unless cost_store remembers them. Without online_store nothing is refined.

    block_size is the draft's, 0 without one.
    """

    def __init__(
        self,
        block_size: int,
        calibration: Calibration,
        *,
        cost_store: CostStore | None = None,
        online_store: OnlineStore | None = None,
    ) -> None:
        self._block_size = block_size
        self._calibration = calibration
        self._cost_store = cost_store
        self._online_store = online_store
        self._costs: StepCosts | None = None
        self._schedulers: WeakKeyDictionary[Session, dict[tuple[SpeculationSettings, float], Scheduler]]
        self._schedulers = WeakKeyDictionary()

    @property
    def knows_costs(self) -> bool:
        """Whether costs() answers at once."""
        if self._costs is None and self._cost_store is not None:
            self._costs = self._cost_store.load()
        return self._costs is not None

    def costs(self, open_session: Callable[[], Session]) -> StepCosts:
        """What passes cost; measured now in a session opened for it when that is not known yet."""
        if not self.knows_costs or self._costs is None:
            session = open_session()
            try:
                self._costs = measure_costs(session)
            finally:
                session.close()
            self.save()
        return self._costs

    def equip(
        self, session: Session, settings: SpeculationSettings, temperature: float, costs: StepCosts | None
    ) -> Equipment:
        """The conversation's scheduler for these settings, with what it has learnt, and the regime's calibration."""
        own = self._schedulers.setdefault(session, {})
        key = (settings, temperature)
        if key not in own:
            own[key] = scheduler_for(settings, costs, self._block_size)
        if self._online_store is None:
            return Equipment(own[key], self._calibration.for_temperature(temperature), lambda *_: None)
        online = self._online_store.for_temperature(self._calibration, temperature)
        return Equipment(own[key], online, online.observe)

    def save(self) -> None:
        """Keep what was measured and learnt for the next start."""
        if self._costs is not None and self._cost_store is not None:
            self._cost_store.save(self._costs)
        if self._online_store is not None:
            self._online_store.save()
