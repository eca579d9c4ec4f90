"""Drafts found in the text itself: what followed the last few tokens when they stood there before.

Quoting, editing and repeating copy long runs from the conversation or an attached file. The longest earlier occurrence
of the text's end is looked up and its continuation proposed; that costs no pass. Prompt lookup decoding (Saxena, 2023),
suffix matching as in SuffixDecoding (Oliaro et al., 2024).

How far a continuation can be trusted is learned as it is verified, by the length of the match so far. A proposal is a
function of tokens that are decided, or drafted before it, so it never knows the token it proposes for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LONGEST_LOOKUP = 24
"""Tokens of one proposal at most. With the anchor it stays inside what every target can rewind."""

KEY_LENGTH = 2
LONGEST_MATCH = 32
_CANDIDATES = 6


class Match(NamedTuple):
    """Proposed ids, and how many tokens before the first of them matched."""

    ids: list[int]
    length: int


class LookupIndex:
    """All runs of KEY_LENGTH tokens of one growing text, by where they end."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], list[int]] = {}
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        """Decided tokens that follow."""
        for token in ids:
            self._ids.append(token)
            if len(self._ids) >= KEY_LENGTH:
                self._ends.setdefault(tuple(self._ids[-KEY_LENGTH:]), []).append(len(self._ids))

    def find(self, ahead: Sequence[int] = (), limit: int = LONGEST_LOOKUP) -> Match:
        """The continuation of the longest earlier match of the end of the text and `ahead`, undecided tokens after it.

        Of equally long matches the latest counts. No ids when nothing matches.
        """
        end = [*self._ids[-LONGEST_MATCH:], *ahead][-LONGEST_MATCH:]
        if len(end) < KEY_LENGTH or limit < 1:
            return Match([], 0)
        best, best_length = 0, 0
        # With nothing ahead the last entry is the end of the text itself, which has no continuation.
        for place in reversed(self._ends.get(tuple(end[-KEY_LENGTH:]), [])[-_CANDIDATES:]):
            if place == len(self._ids):
                continue
            length = KEY_LENGTH
            while length < min(len(end), place) and self._ids[place - length - 1] == end[-length - 1]:
                length += 1
            if length > best_length:
                best, best_length = place, length
        return Match(self._ids[best : best + limit], best_length) if best_length else Match([], 0)


class LookupTrust:
    """How often a proposed token is right, by the length of the match before it: counts over a prior."""

    _EDGES = (3, 4, 6, 9, 14, 22)
    _PRIOR = (0.3, 0.45, 0.6, 0.75, 0.85, 0.92, 0.95)
    _PRIOR_WEIGHT = 6.0
    _MEMORY = 200.0

    def __init__(self) -> None:
        self._right = [p * self._PRIOR_WEIGHT for p in self._PRIOR]
        self._seen = [self._PRIOR_WEIGHT] * len(self._PRIOR)

    def confidences(self, match_length: int, count: int) -> list[float]:
        """The chance of each of `count` tokens, those before it being right; every right one lengthens the match."""
        kinds = [self._kind(match_length + slot) for slot in range(count)]
        return [self._right[kind] / self._seen[kind] for kind in kinds]

    def observe(self, match_length: int, verified: int, accepted: int) -> None:
        """Of a proposal `verified` tokens were checked and the first `accepted` of them right."""
        for slot in range(min(accepted + 1, verified)):
            kind = self._kind(match_length + slot)
            if self._seen[kind] > self._MEMORY:
                self._seen[kind] *= 0.5
                self._right[kind] *= 0.5
            self._seen[kind] += 1.0
            self._right[kind] += slot < accepted

    def _kind(self, length: int) -> int:
        return sum(length >= edge for edge in self._EDGES)
