"""What was measured on this machine, kept from one run to the next.

The file maps the fingerprint of a machine and disk to what was measured there, newest last. Whatever in it does not
read as such is ignored: measuring again costs seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dspark_local.paths import write_atomically

_KEPT = 8

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GpuMeasurement(BaseModel):
    """One card, rates in bytes a second; pinning_works is False when the system refused to pin memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    memory_rate: Rate | None = None
    host_to_device_rate: Rate | None = None
    pinning_works: bool = True


class Measurements(BaseModel):
    """Rates in bytes a second; None for what was not measured. gpus follows torch's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cpu_read_rate: Rate | None = None
    disk_random_read_rate: Rate | None = None
    gpus: tuple[GpuMeasurement, ...] = ()


_FILE = TypeAdapter(dict[str, Measurements])


def fingerprint(*facts: object) -> str:
    """A short hash of facts that JSON can hold; it tells machines apart without describing them."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def load(path: Path, key: str) -> Measurements | None:
    """What was measured under the fingerprint, None when nothing was or the file is damaged."""
    return _read(path).get(key)


def store(path: Path, key: str, measurements: Measurements) -> None:
    """Remember; a state folder that cannot be written only means measuring again next time."""
    entries = _read(path)
    entries.pop(key, None)
    entries[key] = measurements
    newest = dict(list(entries.items())[-_KEPT:])
    with contextlib.suppress(OSError):
        write_atomically(path, _FILE.dump_json(newest, indent=2).decode() + "\n")


def _read(path: Path) -> dict[str, Measurements]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
