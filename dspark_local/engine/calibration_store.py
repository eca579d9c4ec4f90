"""What this computer knows of a draft's calibration, in the state folder.

`calibration/<draft>/dspark_calibration.json` is a calibration made here for a draft whose own directory cannot be
written to; `calibration/<draft>.json` holds the online refinement, by regime. <draft> names the directory and hashes
its files' names, sizes and times, so a draft that was replaced starts afresh. Losing any of it costs speed, never an
answer: what cannot be read or written is logged and passed over.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from dspark_local import paths
from dspark_local.engine.calibration import STANDARD_REGIMES, Calibration
from dspark_local.engine.calibration_online import OnlineCalibration

_LOG = logging.getLogger(__name__)


def draft_key(directory: Path) -> str:
    """A file name for the draft in `directory`: the same while its weights and configuration are."""
    directory = directory.resolve()
    facts = []
    for path in sorted(directory.glob("*")):
        if path.name in ("config.json", "model.safetensors.index.json") or path.suffix == ".safetensors":
            status = path.stat()
            facts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    return f"{directory.name}-{digest}"


def local_folder(directory: Path) -> Path | None:
    """Where a calibration made here for the draft in `directory` lies, existing or not; None without a state folder."""
    try:
        return paths.state_dir() / "calibration" / draft_key(directory)
    except OSError as error:
        _LOG.warning("There is no state folder for calibrations: %s", error)
        return None


class OnlineStore:
    """The online refinement of one draft, by regime, kept over restarts."""

    def __init__(self, directory: Path, block_size: int) -> None:
        """`directory` is the draft's. Reads what is there."""
        self._block_size = block_size
        folder = local_folder(directory)
        self._path = folder.with_name(folder.name + ".json") if folder is not None else None
        self._states = self._read()
        self._live: dict[str, OnlineCalibration] = {}

    def for_temperature(self, calibration: Calibration, temperature: float) -> OnlineCalibration:
        """The refinement for requests at a sampling temperature: one object per regime, shared by its requests.

        Without measured regimes the nearest of greedy, 0.6 and 1 keeps its own refinement of the default.
        """
        regime = calibration.regime_of(temperature)
        if regime is None:
            regime = min(STANDARD_REGIMES, key=lambda known: abs(known - temperature))
        name = f"{regime:g}"
        base = calibration.for_temperature(temperature)
        if name not in self._live or self._live[name].base != base:
            self._live[name] = OnlineCalibration(base, self._block_size, self._states.get(name))
        return self._live[name]

    def save(self) -> None:
        """Write what was learnt. A disk that refuses is logged, nothing more."""
        if self._path is None or not self._live:
            return
        self._states |= {name: online.state() for name, online in self._live.items()}
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths.write_atomically(self._path, json.dumps({"regimes": self._states}, indent=1) + "\n")
        except OSError as error:
            _LOG.warning("What was learnt about confidences is not kept: %s", error)

    def _read(self) -> dict[str, object]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            regimes = json.loads(self._path.read_text(encoding="utf-8"))["regimes"]
            if not isinstance(regimes, dict):
                raise TypeError("regimes is no object")
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s is passed over, it is no record of confidences: %s", self._path, error)
            return {}
        return regimes
