"""How long a download bears with a network that fails."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds and counts. A failure counts as fruitless unless the attempt brought worthwhile_bytes or its whole piece.

    The defaults bear a router's restart (one and a half minutes), and leave a dead server to the user.
    """

    attempts: int = 8
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_asked_wait: float = 300.0
    connect_seconds: float = 20.0
    stall_seconds: float = 30.0
    worthwhile_bytes: int = 256 * 2**10

    def wait(self, fruitless: int, asked: float | None) -> float:
        """Seconds before the next attempt, after so many fruitless ones; `asked` is what the server wants.

        Doubling with jitter, so that several connections do not come back at the same moment.
        """
        if asked is not None:
            return min(asked, self.longest_asked_wait)
        longest = min(self.first_wait * 2.0 ** min(fruitless, 16), self.longest_wait)
        return longest * random.uniform(0.5, 1.0)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: Retry-After, or the reset of an exhausted RateLimit header; else None."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # public, but lazily exported

    retry_after = headers.get("retry-after", "").strip()
    if retry_after.isdecimal():
        return float(retry_after)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None
