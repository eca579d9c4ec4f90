"""Stage "export": write the pair as a checkpoint in the official format."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from dspark_local.demo.draft_stage import load_draft
from dspark_local.demo.frozen import load_target
from dspark_local.demo.report import write_log
from dspark_local.demo.setup import Settings
from dspark_models.training.checkpoint import write_checkpoint
from dspark_models.training.draft import Draft
from dspark_models.training.shape import Shape

COPIED = ("tokenizer.json", "tokenizer_config.json")


def export(settings: Settings, shape: Shape, out: Path) -> int:
    """Write the checkpoint to ``out``, which appears complete or not at all; return its bytes.

    Without a trained draft an untrained one is written, so that an engine can
    run on an early target.
    """
    target = load_target(settings, shape, rounded=False)
    if (settings.folder / "draft.pt").exists():
        draft = load_draft(settings, shape, rounded=False)
    else:
        torch.manual_seed(settings.seed)
        draft = Draft(shape)
    building = out.with_name(out.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    total = write_checkpoint(building, shape, target.state_dict(), draft.state_dict())
    for name in COPIED:
        if (settings.folder / name).exists():
            shutil.copy(settings.folder / name, building / name)
    if (settings.folder / "training_log.jsonl").exists():
        write_log(settings.folder, building)
    if out.exists():
        shutil.rmtree(out)
    os.replace(building, out)
    return total
