"""Batches of padded conversations of similar length, resumable by a counter."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from dspark_local.demo.corpus import documents
from dspark_local.demo.tokens import encode

PAD = 1
STEP = 16


@dataclass
class Batch:
    """Token ids [B, S] and, per position, whether the token is part of an answer [B, S]."""

    ids: Tensor
    answer: Tensor
    real: Tensor

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(self.ids.to(device), self.answer.to(device), self.real.to(device))


def pad(rows: list[tuple[list[int], list[bool]]]) -> Batch:
    """Pad to a multiple of 16 tokens; padding is neither real nor answer."""
    width = max(len(ids) for ids, _ in rows)
    width = -(-width // STEP) * STEP
    ids = torch.full((len(rows), width), PAD)
    answer = torch.zeros(len(rows), width, dtype=torch.bool)
    real = torch.zeros_like(answer)
    for i, (row, learn) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        answer[i, : len(row)] = torch.tensor(learn)
        real[i, : len(row)] = True
    return Batch(ids, answer, real)


class Stream:
    """Endless batches of about ``budget`` tokens; ``pool`` counts pools already used."""

    def __init__(self, tokenizer: Tokenizer, seed: int, budget: int, limit: int) -> None:
        self.tokenizer, self.seed, self.budget, self.limit = tokenizer, seed, budget, limit
        self.pool = 0
        self.long = 0.0
        self._ready: list[Batch] = []

    def next(self) -> Batch:
        """The next batch; a new pool of conversations is made when one runs out."""
        if not self._ready:
            self._ready = self._make()
            self.pool += 1
        return self._ready.pop()

    def position(self) -> list[float]:
        """Where the stream stands: pools used, batches left, share of long texts."""
        return [float(self.pool), float(len(self._ready)), self.long]

    def restore(self, position: list[float]) -> None:
        """Continue from :meth:`position`; the current pool is made again."""
        self.pool, left, self.long = int(position[0]), int(position[1]), position[2]
        if left:
            self.pool -= 1
            self._ready = self._make()[:left]
            self.pool += 1

    def _make(self) -> list[Batch]:
        rows = []
        for item in documents(self.seed, self.pool, 512, self.long):
            ids, answer = encode(self.tokenizer, item)
            rows.append((ids[: self.limit], answer[: self.limit]))
        rows.sort(key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            width = -(-len(row[0]) // STEP) * STEP
            if groups[-1] and (len(groups[-1]) + 1) * width > self.budget:
                groups.append([])
            groups[-1].append(row)
        random.Random(f"order/{self.seed}/{self.pool}").shuffle(groups)
        return [pad(group) for group in groups]
