"""Held-out prompts with reference answers; the same list every time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from dspark_local.demo.corpus import DOMAINS, is_held_out
from dspark_local.demo.domains.turn import Turn
from dspark_local.demo.layout import Conversation

# A domain has finitely many turns; so many draws without a new one mean that they are used up.
PATIENCE = 200_000


def held_out_stream(domain: str, seed: int = 7) -> Iterator[Turn]:
    """Distinct held-out turns of a domain, until no new one is found."""
    rng = random.Random(f"held-out/{seed}/{domain}")
    seen: set[str] = set()
    waited = 0
    while waited < PATIENCE:
        turn = DOMAINS[domain](rng)
        if is_held_out(turn) and turn.question not in seen:
            seen.add(turn.question)
            waited = 0
            yield turn
        else:
            waited += 1


def held_out_turns(domain: str, count: int) -> list[Turn]:
    """The first ``count`` distinct held-out turns of a domain."""
    return list(islice(held_out_stream(domain), count))


def held_out(domain: str, count: int, thinking: bool = False) -> list[Conversation]:
    """Single-turn conversations for the held-out turns of a domain."""
    return [Conversation("", (turn,), thinking) for turn in held_out_turns(domain, count)]


def held_out_questions() -> Iterator[str]:
    """Questions of held-out turns, the domains in turn, until the first domain is used up."""
    for turns in zip(*(held_out_stream(domain) for domain in DOMAINS), strict=False):
        yield from (turn.question for turn in turns)
