"""The long-run rule: a draft is worth its row while it brings tokens faster than the answer grows anyway.

With g tokens a second in the long run, a second of pass time must bring g tokens. So draft j is verified while its
survival a_j is above g times the seconds its row adds (renewal reward; one number, learned as it goes). Where the curve
has steps, rows beyond the next one are looked at too, with the mean confidence of their slots in place of the unknown
one: nothing of this block beyond the slot in question enters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from operator import mul

_HORIZON = 1.0 / 96.0
_PRIOR_ROUNDS = 12.0

RowSeconds = Callable[[int], float]
"""rows -> seconds of a target pass."""


class LongRunRate:
    """How fast an answer grows, over about the latest 1 / _HORIZON rounds, starting from plain decoding's speed.

    Kept in tokens per plain round, so that a machine that gets faster or slower takes the rate along.
    """

    def __init__(self) -> None:
        self._tokens = _PRIOR_ROUNDS
        self._cost = _PRIOR_ROUNDS

    def note(self, tokens: int, cost: float) -> None:
        """A round decided `tokens` and took as long as `cost` plain rounds."""
        self._tokens += tokens - _HORIZON * self._tokens
        self._cost += cost - _HORIZON * self._cost

    def tokens_per_second(self, plain_seconds: float) -> float:
        """The rate where a plain round takes so long, never below plain decoding's, which is always to be had."""
        return max(self._tokens / self._cost, 1.0) / plain_seconds


class SlotMeans:
    """Mean calibrated confidence of every slot, over the blocks seen: what to expect of a slot not yet looked at."""

    def __init__(self) -> None:
        self._means: list[float] = []

    def note(self, confidences: Sequence[float]) -> None:
        """A block was drafted."""
        for slot, confidence in enumerate(confidences):
            if slot == len(self._means):
                self._means.append(confidence)
            self._means[slot] += 0.05 * (confidence - self._means[slot])

    @property
    def first(self) -> float:
        """Mean of the first slot, 1 before any block."""
        return self._means[0] if self._means else 1.0

    def after(self, slot: int) -> Sequence[float]:
        """Means of the slots behind `slot`."""
        return self._means[slot + 1 :]


def admits(
    confidences: Sequence[float], later: Sequence[float], *, rate: float, seconds: RowSeconds, trust: float = 1.0
) -> bool:
    """Whether the last slot of confidences is worth its row, or the first of several rows that together are.

    later are expected confidences of the slots behind it; every survival counts `trust` times (see Honesty).
    """
    survival = trust * prod(confidences)
    have = len(confidences)
    value = survival - rate * (seconds(have + 1) - seconds(have))
    if value > 0.0:
        return True
    for further, confidence in enumerate(later, start=2):
        survival *= confidence
        value += survival - rate * (seconds(have + further) - seconds(have + further - 1))
        if value > 0.0:
            return True
    return False


def prefix_value(confidences: Sequence[float], *, rate: float, seconds: RowSeconds, trust: float = 1.0) -> float:
    """What verifying all these drafts brings above plain decoding, in tokens at `rate`; negative when it loses."""
    tokens: float = trust * sum(accumulate(confidences, mul))
    return tokens - rate * (seconds(len(confidences) + 1) - seconds(1))


def best_prefix(
    confidences: Sequence[float], *, rate: float, seconds: RowSeconds, trust: float = 1.0
) -> tuple[float, int]:
    """(what the best prefix of a block brings above plain decoding, in tokens at `rate`; its length), 0 for none.

    All confidences are looked at, so this may weigh sources and judge what is over, never admit a drawn token.
    """
    best, length = 0.0, 0
    value = 0.0
    for slot, survival in enumerate(accumulate(confidences, mul)):
        value += trust * survival - rate * (seconds(slot + 2) - seconds(slot + 1))
        if value > best:
            best, length = value, slot + 1
    return best, length
