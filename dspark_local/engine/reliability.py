"""Whether confidences mean what they say: calibration error, its noise floor, the table behind a reliability diagram.

What is judged is the survival of a prefix, the chance that drafts 1..k are all kept: a scheduler acts on it. Which
rounds speak about position k must not depend on how they went, or the selection itself looks like a calibration error.
So a round counts at k when k drafts were verified and none before k ends the answer: both are known before draft k is
judged. Standard library only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

BINS = 15
FLOOR_DRAWS = 40


class PlayedRound(NamedTuple):
    """What one round tells of the draft's confidences.

    confidences [K] in (0, 1), raw. known: positions 1..known count for the survival. accepted: drafts kept. prompt
    names the answer the round is from: rounds of one answer resemble each other.
    """

    confidences: tuple[float, ...]
    known: int
    accepted: int
    prompt: int = 0


class Bin(NamedTuple):
    """Predictions within one bin: how many, their mean, and the share that came true."""

    size: int
    predicted: float
    observed: float


Confidences = Callable[[Sequence[float]], Sequence[float]]
"""Raw confidences [K] -> calibrated ones [K]."""


def known_positions(draft_ids: Sequence[int], verified: int, end_ids: Collection[int]) -> int:
    """How many positions of a round have an outcome that counts: the verified ones up to the first end token."""
    for slot, token in enumerate(draft_ids[:verified]):
        if token in end_ids:
            return slot + 1
    return verified


def survivals(rounds: Iterable[PlayedRound], position: int, calibrated: Confidences) -> tuple[list[float], list[bool]]:
    """(predicted chances, outcomes) that drafts 1..position are all kept, over the rounds that count there."""
    predicted: list[float] = []
    outcomes: list[bool] = []
    for played in rounds:
        if played.known >= position:
            predicted.append(math.prod(calibrated(played.confidences)[:position]))
            outcomes.append(played.accepted >= position)
    return predicted, outcomes


def reliability_table(predicted: Sequence[float], outcomes: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """The bins of equal width that hold anything, from low to high. ValueError for lengths that differ."""
    count, sums, hits = [0] * bins, [0.0] * bins, [0] * bins
    for p, outcome in zip(predicted, outcomes, strict=True):
        index = min(int(p * bins), bins - 1)
        count[index] += 1
        sums[index] += p
        hits[index] += outcome
    return [Bin(n, s / n, h / n) for n, s, h in zip(count, sums, hits, strict=True) if n]


def calibration_error(predicted: Sequence[float], outcomes: Sequence[bool], bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al., 2015): mean distance of predicted and observed; 0 for no data."""
    table = reliability_table(predicted, outcomes, bins)
    return sum(row.size * abs(row.predicted - row.observed) for row in table) / max(len(predicted), 1)


def noise_floor(predicted: Sequence[float], draws: int = FLOOR_DRAWS, seed: int = 0) -> float:
    """The calibration error that predictions show when every one of them is exactly right.

    Outcomes are drawn from the predictions themselves, `draws` times; the mean error. It treats rounds as independent,
    which flatters: those of one answer are not.
    """
    generator = random.Random(seed)
    errors = [calibration_error(predicted, [generator.random() < p for p in predicted]) for _ in range(draws)]
    return sum(errors) / draws


def errors_by_position(rounds: Sequence[PlayedRound], block_size: int, calibrated: Confidences) -> list[float]:
    """Calibration error of the survival at each position of a block, [block_size]."""
    return [calibration_error(*survivals(rounds, k + 1, calibrated)) for k in range(block_size)]


def floors_by_position(rounds: Sequence[PlayedRound], block_size: int, calibrated: Confidences) -> list[float]:
    """Noise floor of those errors, [block_size]."""
    return [noise_floor(survivals(rounds, k + 1, calibrated)[0]) for k in range(block_size)]
