"""What a schedule could have reached on a trace when everything is known afterwards, without noise.

All rates are tokens per second for an answer of exactly `tokens` tokens; what the last round emits beyond is lost to
everybody alike. That makes `ceiling_rate` a true bound of every schedule that chooses between plain rounds and rounds
that draft.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.local.engine.replay.profiles import Profile
from tests.local.engine.replay.traces import BLOCK, Trace


class BestStatic(NamedTuple):
    """The best fixed number of drafts and its rate in tokens per second; 0 is plain decoding."""

    draft_tokens: int
    rate: float


def static_rate(profile: Profile, trace: Trace, draft_tokens: int, tokens: int) -> float:
    """Draft in every round and verify the first `draft_tokens`; 0 decodes plainly and never drafts."""
    if draft_tokens == 0:
        return 1000 / profile.plain_ms
    return _rate(profile, trace, lambda _: draft_tokens, tokens)


def best_static(profile: Profile, trace: Trace, tokens: int) -> BestStatic:
    """The fastest of plain decoding and 1..5 drafts."""
    rates = [static_rate(profile, trace, draft_tokens, tokens) for draft_tokens in range(BLOCK + 1)]
    fastest = max(range(BLOCK + 1), key=rates.__getitem__)
    return BestStatic(fastest, rates[fastest])


def clairvoyant_rate(profile: Profile, trace: Trace, tokens: int) -> float:
    """Draft in every round and verify exactly the drafts that will be kept."""
    return _rate(profile, trace, lambda accepted: accepted, tokens)


def ceiling_rate(profile: Profile, trace: Trace, tokens: int) -> float:
    """The fastest sequence of rounds there is: also knows when not to draft, and where to end a block early.

    The shortest path from the first token to the last, by dynamic programming from the end. It lies 2 to 14 % above
    clairvoyant_rate on chat, 1 to 5 % on code and math. Part of that is out of reach for any knowledge of confidences:
    blocks draw their outcomes independently, so it may end a block early because the next one happens to be luckier.
    """
    accepted = _accepted(trace, tokens)
    ms_from = [0.0] * (tokens + BLOCK + 1)
    for start in reversed(range(tokens)):
        plain = profile.plain_ms + ms_from[start + 1]
        drafted = (profile.round_ms(kept) + ms_from[start + 1 + kept] for kept in range(accepted[start] + 1))
        ms_from[start] = min(plain, *drafted)
    return 1000 * tokens / ms_from[0]


def _rate(profile: Profile, trace: Trace, verified: Callable[[int], int], tokens: int) -> float:
    """Rounds that all draft; verified(accepted) says how many drafts each verifies."""
    accepted = _accepted(trace, tokens)
    start, ms = 0, 0.0
    while start < tokens:
        draft_tokens = verified(accepted[start])
        ms += profile.round_ms(draft_tokens)
        start += 1 + min(accepted[start], draft_tokens)
    return 1000 * tokens / ms


def _accepted(trace: Trace, tokens: int) -> list[int]:
    if not 0 < tokens <= len(trace.accepted):
        raise ValueError(f"got {tokens} tokens, expected 1 to the trace's {len(trace.accepted)}")
    kept: list[int] = trace.accepted.tolist()
    return kept
