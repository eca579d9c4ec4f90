"""Makes confidences mean what they say: one temperature per block position.

The file is `dspark_calibration.json`, an object with `temperatures` (one positive number per position) and, for the
reader, `dataset`, `num_samples`, `ece_before`, `ece_after`. The values come from Sequential Temperature Scaling
(DSpark paper, section 3; the format is SGLang's). Calibration moves the schedule only, never the output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dspark_local.errors import CheckpointError

CALIBRATION_FILE = "dspark_calibration.json"
_EDGE = 1e-7  # a confidence of exactly 0 or 1 has no logit


@dataclass(frozen=True, slots=True)
class Calibration:
    """One temperature per block position; none leaves confidences as they are."""

    temperatures: tuple[float, ...] = ()

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """sigmoid(logit(c) / T) at each position; confidences in (0, 1)."""
        if not self.temperatures:
            return list(confidences)
        return [_rescaled(c, t) for c, t in zip(confidences, self.temperatures, strict=False)]


def load_calibration(directory: Path, block_size: int) -> Calibration:
    """The calibration beside a draft, or the identity when there is none.

    CheckpointError: unreadable, no numbers above 0, or not one per position of a block of block_size.
    """
    path = directory / CALIBRATION_FILE
    if not path.is_file():
        return Calibration()
    hint = "Remove the file to go without calibration, or make it again for this draft."
    try:
        values = [float(value) for value in json.loads(path.read_text(encoding="utf-8"))["temperatures"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a calibration file ({type(error).__name__}: {error}).", hint=hint
        ) from None
    if len(values) != block_size:
        raise CheckpointError(f"{path} has {len(values)} temperatures, the draft's block has {block_size}.", hint=hint)
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise CheckpointError(f"{path} has a temperature that is not above 0: {values}.", hint=hint)
    return Calibration(tuple(values))


def _rescaled(confidence: float, temperature: float) -> float:
    inside = min(max(confidence, _EDGE), 1.0 - _EDGE)
    logit = math.log(inside / (1.0 - inside))
    return 0.5 + 0.5 * math.tanh(0.5 * logit / temperature)  # the sigmoid, in the form that cannot overflow
