"""What passes cost, remembered between runs, so that only the first start on a machine has to measure.

One JSON file a model, placement and number of threads in the state folder. A file that cannot be read or written costs
two seconds of measuring, never an answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from dspark_local import paths
from dspark_local.engine.step_costs import StepCosts

_LOG = logging.getLogger(__name__)


class CostStore:
    """The file of one model placed in one way. model_key names the weights, `placement` device, dtype and threads."""

    def __init__(self, model_key: str, placement: str) -> None:
        self._path: Path | None = None
        try:
            digest = hashlib.sha256(placement.encode()).hexdigest()[:8]
            self._path = paths.state_dir() / "costs" / f"{model_key}-{digest}.json"
        except OSError as error:
            _LOG.warning("There is no state folder, so costs are measured at every start: %s", error)

    def load(self) -> StepCosts | None:
        """What was measured before; None when there is nothing, or nothing usable."""
        if self._path is None or not self._path.exists():
            return None
        try:
            return StepCosts.from_dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.warning("%s is passed over, it is no record of costs: %s", self._path, error)
            return None

    def save(self, costs: StepCosts) -> None:
        """Keep them. A disk that refuses is logged, nothing more."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths.write_atomically(self._path, json.dumps(costs.as_dict(), indent=1) + "\n")
        except OSError as error:
            _LOG.warning("What passes cost is not kept: %s", error)
