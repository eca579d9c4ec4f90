"""Held-out prompts with reference answers; the same list every time."""

from __future__ import annotations

import random

from dspark_local.demo.corpus import DOMAINS, is_held_out
from dspark_local.demo.domains.turn import Turn
from dspark_local.demo.layout import Conversation


def held_out_turns(domain: str, count: int, seed: int = 7) -> list[Turn]:
    """The first ``count`` distinct held-out turns of a domain."""
    rng = random.Random(f"held-out/{seed}/{domain}")
    seen: dict[str, Turn] = {}
    while len(seen) < count:
        turn = DOMAINS[domain](rng)
        if is_held_out(turn):
            seen.setdefault(turn.question, turn)
    return list(seen.values())


def held_out(domain: str, count: int, thinking: bool = False) -> list[Conversation]:
    """Single-turn conversations for the held-out turns of a domain."""
    return [Conversation("", (turn,), thinking) for turn in held_out_turns(domain, count)]
