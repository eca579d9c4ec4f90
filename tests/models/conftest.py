"""Tiny checkpoints, their oracles and the loaded engine, each made once a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from tests.models import configs
from tests.models.checkpoints import Checkpoint, Draft, random_checkpoint
from tests.models.float64_oracle import RELEASE, DraftRun, Float64Oracle, TargetRun
from tests.models.transformers_oracle import TransformersOracle

if TYPE_CHECKING:
    from dspark_models.protocols import Drafter, Target

LENGTH = 620
MAX_SEQUENCES = 4


@dataclass
class Tiny:
    """One tiny model: on disk, as oracles, and loaded into the engine in float32."""

    name: str
    directory: Path
    draft: Draft = "dspark"

    @property
    def config(self) -> dict[str, Any]:
        return self.checkpoint.config

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return random_checkpoint(getattr(configs, self.name), seed=len(self.name), draft=self.draft)

    @cached_property
    def path(self) -> Path:
        return self.checkpoint.write(self.directory / "official")

    @cached_property
    def ids(self) -> Tensor:
        return self.text(0)

    def text(self, seed: int, length: int = LENGTH) -> Tensor:
        """Random token ids [length] int64."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, self.config["vocab_size"], (length,), generator=generator)

    @cached_property
    def transformers(self) -> TransformersOracle:
        return TransformersOracle(self.checkpoint, self.directory / "float32")

    @cached_property
    def logits(self) -> Tensor:
        """Logits [LENGTH, V] of `ids` by transformers."""
        return self.transformers.logits(self.ids)

    @cached_property
    def float64(self) -> Float64Oracle:
        return Float64Oracle(self.config, self.checkpoint.dense())

    @cached_property
    def rounded64(self) -> Float64Oracle:
        return Float64Oracle(self.config, self.checkpoint.dense(), RELEASE)

    @cached_property
    def run64(self) -> TargetRun:
        return self.float64.target(self.ids)

    @property
    def taps(self) -> Tensor:
        """What the draft reads of `ids`, [LENGTH, F]."""
        return self.run64.mtp_taps if self.draft == "mtp" else self.run64.taps

    def drafted64(self, position: int, ids: list[int], *, rounded: bool = False) -> DraftRun:
        """What the draft's definition says of the drafts `ids` after the anchor at `position` of the text."""
        oracle = self.rounded64 if rounded else self.float64
        define = oracle.mtp if self.draft == "mtp" else oracle.draft
        return define(self.taps[:position], int(self.ids[position]), ids[:-1])

    @cached_property
    def engine(self) -> tuple[Target, Drafter]:
        """The pure float32 formulas. The drafter comes along because the target taps nothing without one."""
        return self.load(dtype="float32")

    @property
    def target(self) -> Target:
        return self.engine[0]

    @property
    def drafter(self) -> Drafter:
        return self.engine[1]

    def load(self, **settings: Any) -> tuple[Target, Drafter]:
        """A target and drafter of their own, with other settings."""
        from dspark_models import load_drafter, load_target

        defaults = {"device": "cpu", "context_length": 1024, "max_sequences": MAX_SEQUENCES}
        target = load_target(self.path, **{**defaults, **settings})
        drafter = load_drafter(self.path, target, max_sequences=MAX_SEQUENCES)
        assert drafter is not None
        return target, drafter


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tiny]:
    """tiny("FLASH") -> the model of that name in tests/models/configs.py; tiny("FLASH", "mtp") has another draft."""
    made: dict[tuple[str, Draft], Tiny] = {}

    def get(name: str, draft: Draft = "dspark") -> Tiny:
        key = (name, draft)
        if key not in made:
            made[key] = Tiny(name, tmp_path_factory.mktemp(f"{name.lower()}_{draft}"), draft)
        return made[key]

    return get
