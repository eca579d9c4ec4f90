"""Keeps confidences true while the engine works: one more bias per position, learnt from what became of the drafts.

A draft meets texts that no calibration file has seen. After every round each draft that was reached gives one outcome;
the bias of its position moves against the surprise. Plain data, standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from dspark_local.engine.calibration import RegimeCalibration
from dspark_local.engine.temperature_scaling import logit, sigmoid

BOUND = 1.0
"""The most that a bias may move a logit, either way: between 0.27 and 0.73 for a draft of even odds."""

PRIOR = 4.0
"""Precision of the belief that the file is right: one standard deviation is half a logit."""

MOST_INFORMATION = 200.0
"""Where memory ends, so that new habits are learnt: 2,200 outcomes at 0.9. The noise that stays is 0.05 logits."""


class OnlineCalibration:
    """A regime's calibration with a bias per position that follows the outcomes. For one request at a time.

    The step is that of a Kalman filter on the logistic likelihood, surprise / information, where every outcome adds
    its p (1 - p) to the information, from PRIOR up to MOST_INFORMATION: it falls as 1/n, then stays constant.
    """

    def __init__(self, base: RegimeCalibration, block_size: int, state: object = None) -> None:
        """`state` is what an earlier `state()` returned; anything else, or one of another base, starts afresh."""
        self.base = base
        self._biases = [0.0] * block_size
        self._information = [PRIOR] * block_size
        self._restore(state)

    @property
    def biases(self) -> tuple[float, ...]:
        """What is added to the logit of each position, on top of the base."""
        return tuple(self._biases)

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """The base's answer with the biases added in the logit; confidences raw, [K] in [0, 1]."""
        calibrated = self.base.apply(confidences)
        pairs = zip(calibrated, self._biases, strict=False)
        return [sigmoid(logit(c) + bias) if bias else c for c, bias in pairs]

    def observe(self, confidences: Sequence[float], verified: int, accepted: int) -> None:
        """Learn from a round: raw confidences [K], how many drafts were verified, how many of them kept.

        Slot k has an outcome when it was verified and every draft before it was kept. When an answer ended inside the
        block, pass the drafts up to its end as verified: what came after was not judged.
        """
        for slot, chance in enumerate(self.apply(confidences)[: min(verified, accepted + 1)]):
            information = min(self._information[slot] + chance * (1.0 - chance), MOST_INFORMATION)
            moved = self._biases[slot] + ((slot < accepted) - chance) / information
            self._information[slot] = information
            self._biases[slot] = min(max(moved, -BOUND), BOUND)

    def state(self) -> dict[str, object]:
        """What to keep, as plain data; it names the base that it belongs to."""
        return {
            "temperatures": list(self.base.temperatures),
            "base_biases": list(self.base.biases),
            "biases": list(self._biases),
            "information": list(self._information),
        }

    def _restore(self, state: object) -> None:
        """Take `state` over if it is sound and of this base and block."""
        if not isinstance(state, dict):
            return
        base = (state.get("temperatures"), state.get("base_biases"))
        biases, information = state.get("biases"), state.get("information")
        if (
            base == (list(self.base.temperatures), list(self.base.biases))
            and _are_numbers(biases, len(self._biases), -BOUND, BOUND)
            and _are_numbers(information, len(self._biases), PRIOR, MOST_INFORMATION)
        ):
            self._biases, self._information = list(biases), list(information)


def _are_numbers(values: object, count: int, low: float, high: float) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(v, int | float) and low <= v <= high for v in values)  # false for NaN too
    )
