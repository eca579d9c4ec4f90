"""Stage "calibrate": fit the confidences on rounds that the engine plays with the exported checkpoint.

A replay on the trainer's own model would miss what the release's number formats do to confidences.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dspark_local.demo.heldout import held_out_questions
from dspark_local.demo.setup import Log, Settings
from dspark_local.engine.calibration import CALIBRATION_FILE, STANDARD_REGIMES
from dspark_local.engine.calibration_file import as_text, merged, regime_entry, regime_name
from dspark_local.engine.calibration_fit import fit_regime
from dspark_local.engine.calibration_play import ROUNDS_PER_ANSWER, play
from dspark_local.native import NativeBackend

DATASET = "held-out prompts of the demo corpus (chat, math, code, story in equal parts)"
DEFAULT_TEMPERATURE = 1.0
ROUNDS_PER_PROMPT = 5  # so that 300 prompts a domain stand for 6,000 rounds


def calibrate(settings: Settings, checkpoint: Path, count: int) -> dict[str, Any]:
    """Write ``dspark_calibration.json`` into a checkpoint; rounds worth about ``count`` prompts per domain.

    ``dspark-local calibrate`` does the same for the shipped checkpoint, with fewer rounds.
    """
    log = Log(settings.folder, "calibrate")
    backend = NativeBackend.load(checkpoint, dtype="auto", device=settings.device)
    fits = {}
    for temperature in STANDARD_REGIMES:
        played = play(
            backend,
            enumerate(held_out_questions()),
            temperature=temperature,
            wanted=4 * count * ROUNDS_PER_PROMPT,
            per_answer=ROUNDS_PER_ANSWER,
            max_tokens=16 if settings.smoke else 256,
        )
        fits[temperature] = fit_regime(played, backend.info.draft_block_size)
        log.write(temperature=regime_name(temperature), **regime_entry(fits[temperature]))
    document, _ = merged(None, fits, default=DEFAULT_TEMPERATURE, dataset=DATASET, replace=True)
    (checkpoint / CALIBRATION_FILE).write_text(as_text(document), encoding="utf-8")
    return document
