"""Settings of the training stages and what they share: folders, tokenizer, checkpoints."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from dspark_local.demo.corpus import documents
from dspark_local.demo.layout import NOISE_ID
from dspark_local.demo.tokens import plain_text, save_tokenizer, train_tokenizer
from dspark_models.training.shape import Shape


@dataclass(frozen=True)
class Settings:
    """What one run of a stage needs to know."""

    folder: Path
    minutes: float
    device: str = "cpu"
    seed: int = 1
    smoke: bool = False
    bfloat16: bool = False

    @property
    def batch_tokens(self) -> int:
        """Tokens per step, padding included."""
        return 512 if self.smoke else 3072


def demo_shape(smoke: bool, vocab_size: int) -> Shape:
    """Dimensions of the demo, or of a tiny model with the same layer kinds."""
    shape = Shape(vocab_size=vocab_size, dspark_noise_token_id=NOISE_ID)
    if smoke:
        shape = replace(
            shape, hidden_size=128, num_attention_heads=2, n_routed_experts=4,
            index_n_heads=2, dspark_markov_rank=16,
        )  # fmt: skip
    return shape


def make_tokenizer(settings: Settings, shape: Shape) -> Tokenizer:
    """The tokenizer of this run, learnt from the corpus on first use."""
    path = settings.folder / "tokenizer.json"
    if not path.exists():
        settings.folder.mkdir(parents=True, exist_ok=True)
        count = 500 if settings.smoke else 12000
        texts = (t for d in documents(settings.seed, -1, count) for t in plain_text(d))
        tokenizer = train_tokenizer(texts, shape.vocab_size)
        save_tokenizer(tokenizer, settings.folder, shape.max_position_embeddings)
    return Tokenizer.from_file(str(path))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state so that an interrupted write leaves the old one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a training state, or None when there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class Log:
    """Lines of JSON, appended to ``training_log.jsonl`` and printed."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path, self.stage = folder / "training_log.jsonl", stage

    def write(self, **values: Any) -> None:
        """Add one record."""
        line = json.dumps({"stage": self.stage, **values})
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Budget:
    """Progress through a time budget; the time of earlier runs counts."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self.total = minutes * 60
        self.start = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds used so far."""
        return time.monotonic() - self.start

    @property
    def fraction(self) -> float:
        """Share of the budget used, at most 1."""
        return min(self.spent / self.total, 1.0)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python and torch."""
    random.seed(seed)
    torch.manual_seed(seed)
