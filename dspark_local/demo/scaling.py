"""Sequential temperature scaling of the confidences, and the calibration error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 15
# Standard error of the calibration error times the root of the number of rounds, roughly.
NOISE = 0.25


def calibration_error(probability: Tensor, outcome: Tensor) -> float:
    """Expected calibration error over equal-width bins; both arguments [n]."""
    index = (probability * BINS).long().clamp(0, BINS - 1)
    count = torch.bincount(index, minlength=BINS).double()
    mean_p = torch.bincount(index, probability.double(), minlength=BINS)
    mean_o = torch.bincount(index, outcome.double(), minlength=BINS)
    return float((mean_p - mean_o).abs().sum() / count.sum())


def survival(logits: Tensor, temperatures: Tensor) -> Tensor:
    """Probability that the first k + 1 drafts are all accepted, [n, G]."""
    return torch.sigmoid(logits / temperatures).cumprod(1)


def errors(logits: Tensor, accepted: Tensor, temperatures: Tensor) -> list[float]:
    """Calibration error of the survival per position."""
    p = survival(logits, temperatures)
    return [calibration_error(p[:, k], (accepted > k).double()) for k in range(logits.shape[1])]


def fit(logits: Tensor, accepted: Tensor) -> Tensor:
    """Temperatures [G] from confidence logits [n, G] and accepted counts [n].

    Each position takes one of 41 values between 0.1 and 10, with the earlier
    ones fixed: of all values whose error of the survival is within the noise
    of the least one, the value closest to 1. The plain minimum would follow
    the noise of the bins and do worse on other prompts.
    """
    tolerance = NOISE / logits.shape[0] ** 0.5
    candidates = torch.logspace(-1, 1, 41, dtype=torch.float64)
    logits = logits.double()
    temperatures = torch.ones(logits.shape[1], dtype=torch.float64)
    before = torch.ones(logits.shape[0], dtype=torch.float64)
    for k in range(logits.shape[1]):
        outcome = (accepted > k).double()
        tried = [(calibration_error(before * torch.sigmoid(logits[:, k] / t), outcome), t) for t in candidates.tolist()]
        least = min(tried)[0]
        best = min((t for e, t in tried if e <= least + tolerance), key=lambda t: abs(math.log(t)))
        temperatures[k] = best
        before = before * torch.sigmoid(logits[:, k] / best)
    return temperatures
