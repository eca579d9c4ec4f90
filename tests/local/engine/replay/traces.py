"""Acceptance traces: what a draft said of itself and how far each block would have been kept, at every text position.

Three kinds of text stand for easy and hard drafting. A trace knows nothing of time or of what a scheduler does with it;
the replay starts a block wherever the text has got to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 5
"""Drafts in a block of the released DSpark draft."""

MEAN_ACCEPTANCE = {"chat": 0.750, "code": 0.888, "math": 0.922}
"""Chance that a draft is kept when all before it were: gives 3.29, 4.55 and 4.94 tokens a round of five drafts.

The released draft of V4-Flash is reported at 3.29 on MT-Bench, 4.54 to 4.94 on code and 4.66 on mathematics.
"""

CONCENTRATION = 2.6
"""Spread of that chance over the text. Few positions are doubtful, most are near 0 or 1: a confidence separates kept
from dropped drafts with an area under the curve of 0.83 to 0.91; the DSpark paper reports 0.81 to 0.91.
"""

JITTER = 0.15
"""Standard deviation in log-odds between two blocks that draft the same position from different anchors."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One text of T positions.

    confidences  [T, 5] float64, calibrated: slot k is the chance that it is kept if slots 0..k-1 are
    accepted     [T] int64 in 0..5: how many drafts of the block that starts there survive if all are verified
    """

    workload: str
    confidences: NDArray[np.float64]
    accepted: NDArray[np.int64]


def acceptance_trace(workload: str, positions: int, seed: int) -> Trace:
    """A trace of `positions` possible block starts, the same for the same arguments.

    The block that starts at t drafts positions t+1..t+5. Every position of the text has one difficulty, a Beta variable
    with the mean of its workload, which all blocks that reach it share up to JITTER. Whether a draft is kept is drawn
    with exactly the confidence shown, so the confidences are calibrated by construction, and the first draft that is
    not kept ends its block. Outcomes of different blocks are independent given the confidences.
    Raises KeyError for a workload without a mean.
    """
    mean = MEAN_ACCEPTANCE[workload]
    rng = np.random.default_rng([seed, *workload.encode()])
    ease = rng.beta(mean * CONCENTRATION, (1 - mean) * CONCENTRATION, positions + BLOCK).clip(0.01, 0.999)
    drafted = np.lib.stride_tricks.sliding_window_view(ease, BLOCK)[:positions]  # [T, 5]
    log_odds = np.log(drafted / (1 - drafted)) + rng.normal(0.0, JITTER, drafted.shape)
    confidences = 1 / (1 + np.exp(-log_odds))
    kept = rng.random(drafted.shape) < confidences
    return Trace(workload, confidences, np.logical_and.accumulate(kept, axis=1).sum(axis=1))
