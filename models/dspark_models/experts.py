"""Where routed experts come from: (block, expert) -> weights, with a ledger of the bytes that were moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch

from dspark_models.checkpoint import Checkpoint
from dspark_models.expert_bank.layout import PARTS
from dspark_models.weights import Matrix


class ExpertWeights(NamedTuple):
    """w1 (gate) and w3 (up) [I, D], w2 (down) [D, I], in storage format on the computing device."""

    w1: Matrix
    w3: Matrix
    w2: Matrix

    @property
    def nbytes(self) -> int:
        """Bytes of all three with their scales."""
        return self.w1.nbytes + self.w3.nbytes + self.w2.nbytes


@dataclass(slots=True)
class ByteLedger:
    """fetches and bytes of expert weights handed out, and the bytes among them that crossed to another device."""

    fetches: int = 0
    fetched_bytes: int = 0
    copied_bytes: int = 0


class ExpertStore(Protocol):
    """Hands out experts; neither knows nor cares why one is asked for. `block` is such as `layers.3` or `mtp.0`."""

    ledger: ByteLedger

    def fetch(self, block: str, expert: int) -> ExpertWeights:
        """The expert's weights, ready to compute with."""
        ...


@dataclass(slots=True)
class MappedExpertStore:
    """Experts straight from the memory-mapped shards or banks; the operating system's page cache is the only cache.

    On a CPU nothing is copied. On another device an expert is copied when it is used, unless `is_resident`: then
    each is copied once and stays there.
    """

    checkpoint: Checkpoint
    device: torch.device
    is_resident: bool = False
    ledger: ByteLedger = field(default_factory=ByteLedger)
    _opened: dict[tuple[str, int], ExpertWeights] = field(default_factory=dict)

    def fetch(self, block: str, expert: int) -> ExpertWeights:
        """See ExpertStore."""
        key = (block, expert)
        weights = self._opened.get(key)
        prefix = f"{block}.ffn.experts.{expert}"
        if weights is None or weights.w1.weight.device.type == "cpu":
            self.checkpoint.read_ahead(f"{prefix}.{part}" for part in PARTS)
        if weights is None:
            cpu = torch.device("cpu")
            w1, w3, w2 = (Matrix.load(self.checkpoint, f"{prefix}.{part}", cpu) for part in ("w1", "w3", "w2"))
            weights = ExpertWeights(w1, w3, w2)
            if self.device.type == "cpu":
                self._opened[key] = weights
        moved = weights
        if weights.w1.weight.device != self.device:
            moved = ExpertWeights(*(part.to(self.device) for part in weights))
            self.ledger.copied_bytes += weights.nbytes
            if self.is_resident:
                self._opened[key] = moved
        self.ledger.fetches += 1
        self.ledger.fetched_bytes += weights.nbytes
        return moved
