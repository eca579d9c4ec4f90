"""Makes confidences mean what they say, per block position and for the way a request samples.

The file is `dspark_calibration.json`. Its top level is SGLang's format: `temperatures` (one positive number per
position, by Sequential Temperature Scaling) and, for the reader, `dataset`, `num_samples`, `ece_before`, `ece_after`.
`regimes` is ours: how often a draft is kept depends on the sampling temperature, so there is an entry for each one
measured, such as "0" (greedy), "0.6" and "1", with `temperatures`, `biases` and figures. Calibration moves the schedule
only, never the output. Nothing here imports more than the standard library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspark_local.engine.temperature_scaling import logit, sigmoid
from dspark_local.errors import CheckpointError

CALIBRATION_FILE = "dspark_calibration.json"
STANDARD_REGIMES = (0.0, 0.6, 1.0)
"""The sampling temperatures that are measured unless others are asked for: greedy, careful, as the model is."""

_HINT = "Remove the file to go without calibration, or make it again: dspark-local calibrate."


@dataclass(frozen=True, slots=True)
class RegimeCalibration:
    """A temperature and a bias per block position; empty tuples leave confidences as they are."""

    temperatures: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.biases and len(self.biases) != len(self.temperatures):
            raise ValueError(f"{len(self.temperatures)} temperatures need as many biases, got {len(self.biases)}")

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """sigmoid(logit(c) / T + b) at each position; confidences [K] in [0, 1], K at most the block size."""
        if not self.temperatures:
            return list(confidences)
        biases = self.biases or (0.0,) * len(self.temperatures)
        return [sigmoid(logit(c) / t + b) for c, t, b in zip(confidences, self.temperatures, biases, strict=False)]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The default temperatures of a draft and, by sampling temperature, what was measured there. None: the identity."""

    temperatures: tuple[float, ...] = ()
    regimes: tuple[tuple[float, RegimeCalibration], ...] = ()

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """With the default temperatures, as RegimeCalibration.apply."""
        return RegimeCalibration(self.temperatures).apply(confidences)

    def regime_of(self, temperature: float) -> float | None:
        """The measured sampling temperature nearest to a request's, the lower of two; None when there is none."""
        known = sorted(regime for regime, _ in self.regimes)
        return min(known, key=lambda regime: abs(regime - temperature)) if known else None

    def for_temperature(self, temperature: float) -> RegimeCalibration:
        """The calibration of the nearest regime; without regimes the default temperatures."""
        nearest = self.regime_of(temperature)
        return next(
            (entry for regime, entry in self.regimes if regime == nearest), RegimeCalibration(self.temperatures)
        )


def calibration_path(directory: Path, fallback: Path | None = None) -> Path | None:
    """The calibration file in use: the one in `fallback` if there is one, else the one beside the draft, else None.

    `fallback` is a folder for drafts whose own directory cannot be written to (calibration_store.local_folder): what
    lies there was measured on this computer.
    """
    folders = (directory,) if fallback is None else (fallback, directory)
    return next((folder / CALIBRATION_FILE for folder in folders if (folder / CALIBRATION_FILE).is_file()), None)


def load_calibration(directory: Path, block_size: int, fallback: Path | None = None) -> Calibration:
    """The calibration of the draft in `directory`, or the identity when there is none; `fallback` as above.

    CheckpointError: unreadable, a temperature that is not above 0, or not one number per position of the block.
    """
    path = calibration_path(directory, fallback)
    return Calibration() if path is None else parse_calibration(read_document(path), path, block_size)


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a calibration file. CheckpointError when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise TypeError("not an object")
    except (OSError, ValueError, TypeError) as error:
        raise _not_a_calibration(path, error) from None
    return document


def parse_calibration(document: dict[str, Any], path: Path, block_size: int) -> Calibration:
    """The calibration that `document`, the content of `path`, describes. CheckpointError as load_calibration."""
    try:
        default = _numbers(document, "temperatures")
        regimes = {float(name): entry for name, entry in document.get("regimes", {}).items()}
        parsed = {t: (_numbers(e, "temperatures"), _numbers(e, "biases", default)) for t, e in regimes.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_a_calibration(path, error) from None
    for temperatures in (default, *(entry for entry, _ in parsed.values())):
        if len(temperatures) != block_size:
            raise CheckpointError(
                f"{path} has {len(temperatures)} temperatures, the draft's block has {block_size}.", hint=_HINT
            )
        if not all(math.isfinite(value) and value > 0 for value in temperatures):
            raise CheckpointError(f"{path} has a temperature that is not above 0: {list(temperatures)}.", hint=_HINT)
    for biases in (entry for _, entry in parsed.values()):
        if len(biases) != block_size or not all(math.isfinite(value) for value in biases):
            raise CheckpointError(f"{path} needs {block_size} finite biases, it has {list(biases)}.", hint=_HINT)
    return Calibration(default, tuple((t, RegimeCalibration(*parsed[t])) for t in sorted(parsed)))


def _numbers(entry: dict[str, Any], name: str, like: Sequence[float] | None = None) -> tuple[float, ...]:
    """A list of numbers; when it is missing and `like` is given, as many zeros."""
    if like is not None and name not in entry:
        return (0.0,) * len(like)
    return tuple(float(value) for value in entry[name])


def _not_a_calibration(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is not a calibration file ({type(error).__name__}: {error}).", hint=_HINT)
