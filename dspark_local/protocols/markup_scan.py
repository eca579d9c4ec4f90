"""Finding markup in text that arrives in fragments."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dspark_local.protocols.dsml_tags import TAG_START
from dspark_local.protocols.special_tokens import DSML


class MarkupScanner:
    """Finds the given special tokens and the beginnings of DSML tags.

    group "token" is set in a match of a special token, otherwise the match begins a tag.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        spellings = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile(f"(?P<token>{'|'.join(map(re.escape, spellings))})|{TAG_START}")
        markers = (*spellings, f"<{DSML}", f"</{DSML}")
        self._beginnings = frozenset(marker[:size] for marker in markers for size in range(1, len(marker)))
        self._longest = max(map(len, self._beginnings))

    def find(self, text: str) -> re.Match[str] | None:
        """The first markup in text."""
        return self._pattern.search(text)

    def plain_end(self, text: str) -> int:
        """Where the longest end of text begins that more text may turn into markup; len(text) if none."""
        for size in range(min(self._longest, len(text)), 0, -1):
            if text[-size:] in self._beginnings:
                return len(text) - size
        return len(text)


def without_newlines(text: str, end: int, limit: int) -> int:
    """`end` moved back over at most `limit` newlines before it."""
    start = end
    while start > 0 and end - start < limit and text[start - 1] == "\n":
        start -= 1
    return start
