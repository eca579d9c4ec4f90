"""Command line of the demo's training: ``python -m dspark_local.demo.train STAGE``.

The stages in order: ``target``, ``indexer``, ``draft``, ``figures``,
``export``, ``calibrate``; ``all`` runs them one after the other. Every stage
reads what the earlier ones left in ``--folder``, the last one the checkpoint;
``target`` and ``draft`` continue where an interrupted run stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from dspark_local.demo.calibrate_stage import calibrate
from dspark_local.demo.corpus import documents
from dspark_local.demo.draft_stage import train_draft
from dspark_local.demo.export_stage import export
from dspark_local.demo.figures_stage import figures
from dspark_local.demo.indexer_stage import train_indexer
from dspark_local.demo.layout import segments
from dspark_local.demo.setup import Settings, demo_shape
from dspark_local.demo.target_stage import train_target
from dspark_models.training.fusion import enable_fusion

VOCABULARY = 1280
# Minutes of each timed stage on two CPU cores.
MINUTES = {"target": 55.0, "indexer": 3.0, "draft": 20.0}
SMOKE_MINUTES = {"target": 0.1, "indexer": 0.03, "draft": 0.1}
STAGES = ("corpus", "target", "indexer", "draft", "figures", "export", "calibrate", "all")


def run_stage(stage: str, settings: Settings, vocab: int, out: Path, prompts: int) -> None:
    """Run one stage."""
    shape = demo_shape(settings.smoke, vocab)
    if stage == "corpus":
        for item in documents(settings.seed, 0, 20):
            print("".join(text for text, _ in segments(item)), end="\n\n")
    elif stage == "target":
        train_target(settings, shape)
    elif stage == "indexer":
        train_indexer(settings, shape)
    elif stage == "draft":
        train_draft(settings, shape)
    elif stage == "calibrate":
        calibrate(settings, out, prompts)
    elif stage == "figures":
        figures(settings, shape, prompts)
    else:
        print(f"{export(settings, shape, out)} bytes of tensors in {out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the stages."""
    parser = argparse.ArgumentParser(
        prog="python -m dspark_local.demo.train", description="Train the demo pair from nothing."
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--folder", type=Path, required=True, help="states, logs, tokenizer")
    parser.add_argument("--out", type=Path, help="checkpoint to write (default FOLDER/checkpoint)")
    parser.add_argument("--minutes", type=float, help="time budget of a training stage")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=VOCABULARY)
    parser.add_argument("--prompts", type=int, default=300, help="held-out prompts per domain")
    parser.add_argument("--smoke", action="store_true", help="tiny model, seconds instead of hours")
    parser.add_argument("--fuse", action="store_true", help="compile element-wise steps; a CPU needs a C++ compiler")
    parser.add_argument("--bfloat16", action="store_true", help="bfloat16 products until the last part of a stage")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.fuse:
        enable_fusion()
    usual = SMOKE_MINUTES if args.smoke else MINUTES
    chosen = STAGES[1:-1] if args.stage == "all" else (args.stage,)
    for stage in chosen:
        minutes = args.minutes if args.minutes and args.stage != "all" else usual.get(stage, 0.0)
        settings = Settings(args.folder, minutes, args.device, args.seed, args.smoke, args.bfloat16)
        prompts = 3 if args.smoke else args.prompts
        run_stage(stage, settings, args.vocab, args.out or args.folder / "checkpoint", prompts)


if __name__ == "__main__":
    main()
