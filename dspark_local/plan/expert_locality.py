"""How often experts are used again: hit rates of a cache, experts of a block of tokens, misses of a block.

Curves come from a simulated router with five parameters that were fitted to nine published measurements of V4-Flash
(least-recently-used hit rates of hipfire, a static oracle of FreeToken); they lie 0-5 points below those. They are of
256 experts, 6 a token: other counts are scaled by their share, an extrapolation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal

from dspark_local.plan.model_facts import Experts

CachePolicy = Literal["recent", "frequent"]

_EXPERTS, _PER_TOKEN = 256, 6
_SLOTS = (0.0, 2.0, 4.0, 8.0, 14.0, 16.0, 24.0, 28.0, 38.0, 56.0, 112.0, 224.0, 256.0)
_HITS: dict[CachePolicy, tuple[float, ...]] = {
    # least recently used
    "recent": (0.0, 0.068, 0.135, 0.252, 0.372, 0.403, 0.498, 0.535, 0.610, 0.709, 0.886, 0.990, 1.0),
    # decayed counts of accepted tokens, fed by copied misses
    "frequent": (0.0, 0.120, 0.195, 0.301, 0.410, 0.439, 0.531, 0.568, 0.643, 0.738, 0.899, 0.993, 1.0),
}
# Long-run popularity decides what stays in RAM.
_SLOW = (0.0, 0.116, 0.188, 0.294, 0.405, 0.434, 0.529, 0.567, 0.647, 0.748, 0.914, 0.996, 1.0)
_UNION = (0.0, 6.0, 10.70, 14.68, 18.22, 21.45, 24.42, 27.19, 29.84)
_MISS_GROWTH: dict[CachePolicy, tuple[float, ...]] = {
    # Misses of a pass over B tokens, those of plain decoding being 1; at B = 1 the draft already takes slots.
    "recent": (0.0, 1.05, 1.95, 2.80, 3.60, 4.36, 5.10),
    "frequent": (0.0, 1.14, 2.05, 2.90, 3.75, 4.55, 5.35),
}


def hit_rate(policy: CachePolicy, slots_per_block: float, experts: Experts) -> float:
    """Share of expert uses that a cache of so many slots a block serves, in steady plain decoding."""
    return _interpolate(_HITS[policy], slots_per_block * _EXPERTS / experts.count)


def reach(slots_per_block: float, experts: Experts) -> float:
    """Share of expert uses that the card and RAM together serve; the rest is read from disk."""
    return _interpolate(_SLOW, slots_per_block * _EXPERTS / experts.count)


def union(tokens: int, experts: Experts) -> float:
    """Different experts of one block that `tokens` neighbouring tokens use."""
    distinct = _extrapolate(_UNION, tokens) * experts.per_token / _PER_TOKEN
    return min(distinct, float(experts.count))


def miss_growth(policy: CachePolicy, tokens: int) -> float:
    """Misses of a verify pass over `tokens` tokens, in those of a plain pass."""
    return _extrapolate(_MISS_GROWTH[policy], tokens)


def _interpolate(curve: tuple[float, ...], slots: float) -> float:
    """Linear in the logarithm of the slots, as hit rates nearly are; linear below the first point."""
    if slots >= _SLOTS[-1]:
        return 1.0
    i = bisect_right(_SLOTS, slots) - 1
    low, high = _SLOTS[i], _SLOTS[i + 1]
    share = slots / high if i == 0 else math.log(slots / low) / math.log(high / low)
    return curve[i] + share * (curve[i + 1] - curve[i])


def _extrapolate(curve: tuple[float, ...], tokens: int) -> float:
    """The curve's value, going on beyond its end with its last step."""
    last = len(curve) - 1
    if tokens <= last:
        return curve[tokens]
    return curve[last] + (tokens - last) * (curve[last] - curve[last - 1])
