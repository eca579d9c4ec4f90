"""What the loop must sample from, and whether it did: written apart from the code under test, in numpy float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dspark_local.request import SamplingSettings

Row = NDArray[np.float64]


def expected_distribution(settings: SamplingSettings, logits: Row, prompt: Sequence[int], output: Sequence[int]) -> Row:
    """The processed distribution [V] after `prompt` and `output`."""
    z = logits.astype(np.float64).copy()
    for token in {*prompt, *output}:
        z[token] = z[token] / settings.repetition_penalty if z[token] > 0 else z[token] * settings.repetition_penalty
    for token in set(output):
        z[token] -= settings.presence_penalty + settings.frequency_penalty * list(output).count(token)
    z = z / settings.temperature
    keep = np.ones(len(z), dtype=bool)
    if settings.top_k:
        keep &= z >= np.sort(z)[-settings.top_k]
    p = np.where(keep, np.exp(z - z.max()), 0.0)
    p /= p.sum()
    mass = 0.0
    for token in np.argsort(-p, kind="stable"):
        if mass >= settings.top_p:
            p[token] = 0.0
        mass += p[token]
    p[p < settings.min_p * p.max()] = 0.0
    normalised: Row = p / p.sum()
    return normalised


def chi_square_p_value(expected: NDArray[np.float64], drawn: NDArray[np.int64]) -> float:
    """How likely draws [N] fit distributions [N, V] that may differ from draw to draw.

    Sum of (indicator - expected) over the draws, weighed by the sum of their covariances: with equal rows this is
    Pearson's statistic. It stays right when a row depends on what was drawn before (a martingale).
    """
    possible = expected.sum(0) > 0
    assert possible[drawn].all(), "a token was drawn that the target excludes"
    expected = expected[:, possible]
    difference = np.bincount((np.cumsum(possible) - 1)[drawn], minlength=expected.shape[1]) - expected.sum(0)
    covariance = np.diag(expected.sum(0)) - expected.T @ expected
    statistic = float(difference[:-1] @ np.linalg.solve(covariance[:-1, :-1], difference[:-1]))
    return _chi_square_tail(statistic, int(possible.sum()) - 1)


def _chi_square_tail(statistic: float, degrees: int) -> float:
    """P(X >= statistic), by the Wilson-Hilferty cube root, good to a few per mille of the tail's logarithm."""
    spread = 2.0 / (9.0 * degrees)
    z = ((statistic / degrees) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2.0))
