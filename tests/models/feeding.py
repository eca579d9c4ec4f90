"""Ways to push a text through the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dspark_models.protocols import Drafter, RunOutput, Target


@contextmanager
def sequences(target: Target, count: int = 1) -> Iterator[list[int]]:
    """Reserve sequences and give them back, whatever happens."""
    held = [target.new_sequence() for _ in range(count)]
    try:
        yield held
    finally:
        for sequence in held:
            target.free_sequence(sequence)


@contextmanager
def drafting(drafter: Drafter, count: int = 1) -> Iterator[list[int]]:
    """The same for a drafter."""
    held = [drafter.new_sequence() for _ in range(count)]
    try:
        yield held
    finally:
        for sequence in held:
            drafter.free_sequence(sequence)


def pieces(ids: Tensor, sizes: Iterable[int]) -> Iterator[Tensor]:
    """Cut ids into pieces whose sizes repeat from the start when they run out."""
    start = 0
    for size in cycle(sizes):
        if start >= len(ids):
            return
        yield ids[start : start + size]
        start += size


def append(target: Target, sequence: int, ids: Tensor | Sequence[int]) -> RunOutput:
    """One run of one sequence in a pass of its own."""
    from dspark_models.protocols import Run

    return target.forward([Run(sequence, torch.as_tensor(ids))])[0]


def feed(target: Target, sequence: int, ids: Tensor, sizes: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Append all of ids in pieces -> (logits [T, V], taps [T, F])."""
    outputs = [append(target, sequence, piece) for piece in pieces(ids, sizes)]
    return torch.cat([o.logits for o in outputs]), torch.cat([o.taps for o in outputs])


def worst(actual: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite for a wrong shape, so that broadcasting cannot hide one."""
    if actual.shape != expected.shape:
        return float("inf")
    return float((actual.double() - expected.double()).abs().max())


def first_wrong(actual: Tensor, expected: Tensor, tolerance: float) -> str:
    """The first row that is off and by how much: tells which rule is broken."""
    if actual.shape != expected.shape:
        return f"shape {tuple(actual.shape)} instead of {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs().flatten(1).amax(1)
    rows = torch.nonzero(~(error <= tolerance))[:, 0]
    if not len(rows):
        return ""
    return f"{len(rows)} rows off, first {int(rows[0])}, worst {float(error.max()):.2e} at {int(error.argmax())}"
