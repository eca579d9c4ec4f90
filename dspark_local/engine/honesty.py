"""Whether confidences keep what they promise, here and now.

Calibration is fitted on other texts, and a draft that has lost the thread can be sure of itself and wrong, block after
block. So promised and kept tokens are compared over the latest rounds, and while the difference is beyond chance every
survival is discounted by their ratio. It is a fact about rounds that are over: admission stays independent of what is
being admitted.
"""

from __future__ import annotations

import math

_FORGET = 1.0 / 32.0
_DOUBT = 2.0
"""Standard deviations of shortfall that are taken for chance."""

_PRIOR_SQUARES = 12.0
"""Squared misses of some rounds before the first, so that two unlucky blocks are not taken for a habit."""


class Honesty:
    """Promised against kept tokens of one source of drafts."""

    def __init__(self) -> None:
        self._promised = self._kept = 0.0
        self._squares = _PRIOR_SQUARES

    @property
    def trust(self) -> float:
        """What a promised token is worth: 1, or the share of them that is kept when they fall clearly short."""
        if self._kept - self._promised >= -_DOUBT * math.sqrt(self._squares) or self._promised <= 0.0:
            return 1.0
        return self._kept / self._promised

    def note(self, promised: float, kept: int) -> None:
        """A round promised this many drafts (the sum of the survivals of those verified) and kept `kept`."""
        keep = 1.0 - _FORGET
        self._promised = keep * self._promised + promised
        self._kept = keep * self._kept + kept
        self._squares = keep * self._squares + (kept - promised) ** 2
