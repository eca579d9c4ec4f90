"""Fitting what makes confidences true: one temperature per block position, and, where that is not enough, one bias.

Sequential Temperature Scaling (DSpark paper, section 3) divides the logit of every confidence by its position's
temperature. That keeps 0.5 at 0.5: a draft whose even guesses come true six times in ten needs an addition to the
logit too (Platt, 1999). Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dspark_local.engine.reliability import PlayedRound, calibration_error

EDGE = 1e-7  # a confidence of exactly 0 or 1 has no logit
GRID = tuple(10 ** (-1 + step / 20) for step in range(41))  # 0.1 to 10
NOISE = 0.25
"""Standard error of a calibration error times the root of the number of rounds, roughly."""

PRIOR = 2.0
"""Weight of the belief that confidences are right as they are, in rounds of even odds, for each of the two numbers."""


def logit(confidence: float) -> float:
    """log(c / (1 - c)), finite at 0 and 1."""
    inside = min(max(confidence, EDGE), 1.0 - EDGE)
    return math.log(inside / (1.0 - inside))


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), in the form that cannot overflow."""
    return 0.5 + 0.5 * math.tanh(0.5 * value)


def fit_temperatures(rounds: Sequence[PlayedRound], block_size: int) -> tuple[float, ...]:
    """Temperatures [block_size] by Sequential Temperature Scaling.

    From left to right, each position takes one of 41 values, the earlier ones fixed: of all those whose calibration
    error of the survival is within the noise of the least, the one closest to 1. The plain minimum follows the noise
    of the bins and does worse on other prompts. A position without rounds keeps 1.
    """
    temperatures: list[float] = []
    before = [1.0] * len(rounds)
    for position in range(block_size):
        here = [index for index, played in enumerate(rounds) if played.known > position]
        if not here:
            temperatures.append(1.0)
            continue
        logits = [logit(rounds[index].confidences[position]) for index in here]
        prefix = [before[index] for index in here]
        outcomes = [rounds[index].accepted > position for index in here]
        tried = [
            (calibration_error([p * sigmoid(x / t) for p, x in zip(prefix, logits, strict=True)], outcomes), t)
            for t in GRID
        ]
        enough = min(tried)[0] + NOISE / math.sqrt(len(here))
        best = min((t for error, t in tried if error <= enough), key=lambda t: abs(math.log(t)))
        temperatures.append(best)
        for index, p, x in zip(here, prefix, logits, strict=True):
            before[index] = p * sigmoid(x / best)
    return tuple(temperatures)


def fit_affine(rounds: Sequence[PlayedRound], block_size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(temperatures, biases), [block_size] each: calibrated = sigmoid(logit(c) / T + b).

    Each position by itself, the most likely pair for the outcomes of the rounds whose earlier drafts were all kept;
    survivals then follow as products. A weak prior holds both numbers where few rounds speak.
    """
    pairs = [_logistic(*_conditional(rounds, position)) for position in range(block_size)]
    return tuple(1.0 / slope for slope, _ in pairs), tuple(bias for _, bias in pairs)


def _conditional(rounds: Sequence[PlayedRound], position: int) -> tuple[list[float], list[bool]]:
    """Logits and outcomes of the drafts at `position` that were reached."""
    reached = [played for played in rounds if played.known > position and played.accepted >= position]
    return [logit(played.confidences[position]) for played in reached], [r.accepted > position for r in reached]


def _logistic(logits: Sequence[float], outcomes: Sequence[bool]) -> tuple[float, float]:
    """(slope in 0.1..10, bias) by Newton's method on the log-likelihood with a Gaussian prior around (1, 0)."""
    slope, bias = 1.0, 0.0
    for _ in range(50):
        g_slope, g_bias = -PRIOR * (slope - 1.0), -PRIOR * bias
        h_slope, h_cross, h_bias = PRIOR, 0.0, PRIOR
        for x, outcome in zip(logits, outcomes, strict=True):
            p = sigmoid(slope * x + bias)
            weight = p * (1.0 - p)
            g_slope += (outcome - p) * x
            g_bias += outcome - p
            h_slope += weight * x * x
            h_cross += weight * x
            h_bias += weight
        determinant = h_slope * h_bias - h_cross * h_cross
        step_slope = (h_bias * g_slope - h_cross * g_bias) / determinant
        step_bias = (h_slope * g_bias - h_cross * g_slope) / determinant
        # A full step from a bad start can leave the region where the quadratic model holds.
        size = max(abs(step_slope), abs(step_bias), 1.0)
        slope = min(max(slope + step_slope / size, 0.1), 10.0)
        bias = min(max(bias + step_bias / size, -10.0), 10.0)
        if max(abs(step_slope), abs(step_bias)) < 1e-9:
            break
    return slope, bias
