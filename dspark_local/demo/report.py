"""A compact training log for the shipped weights, made from the log of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EVERY = 100


def compact_log(folder: Path) -> dict[str, Any]:
    """Curves thinned to about every hundredth step, all held-out figures, the final figures.

    A resumed run writes some steps twice; the later record replaces the earlier.
    """
    curves: dict[str, dict[int, dict[str, Any]]] = {}
    held_out: list[dict[str, Any]] = []
    for line in (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        stage = record.pop("stage")
        if "chat" in record:
            held_out.append(record)
        elif "loss" in record and "step" in record and (record["step"] % EVERY == 0 or stage == "indexer"):
            curves.setdefault(stage, {})[record["step"]] = record
    figures = folder / "figures.json"
    return {
        "curves": {stage: list(points.values()) for stage, points in curves.items()},
        "held_out_loss_top1_exact": held_out,
        "figures": json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {},
    }


def write_log(folder: Path, out: Path) -> None:
    """Write ``training_log.json`` into a checkpoint directory, one record a line."""
    log = compact_log(folder)
    lines = ["{", '"curves": {']
    stages = []
    for stage, points in log["curves"].items():
        rows = ",\n".join("  " + json.dumps(p) for p in points)
        stages.append(f' "{stage}": [\n{rows}\n ]')
    lines += [",\n".join(stages), "},", '"held_out_loss_top1_exact": [']
    lines += [",\n".join("  " + json.dumps(r) for r in log["held_out_loss_top1_exact"]), "],"]
    lines += [f'"figures": {json.dumps(log["figures"], indent=1)}', "}"]
    (out / "training_log.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
