"""The generated corpus: seeded, endless, with turns held out by a hash of their slots."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from dspark_local.demo.domains import chat, code, maths, stories
from dspark_local.demo.domains.turn import Turn
from dspark_local.demo.layout import Conversation

DOMAINS: dict[str, Callable[[random.Random], Turn]] = {
    "chat": chat.sample,
    "math": maths.sample,
    "code": code.sample,
    "story": stories.sample,
}
WEIGHTS = {"chat": 0.42, "math": 0.2, "code": 0.24, "story": 0.14}
HELD_OUT_PERCENT = 4
THINKING_SHARE = 0.28

SYSTEM = (
    "You are a helpful assistant.",
    "You are the assistant of dspark-local.",
    "Answer briefly.",
    "You are a friendly guide.",
    "Be helpful and short.",
)


def is_held_out(turn: Turn) -> bool:
    """Whether a turn is kept out of the training text, decided by its key alone."""
    digest = hashlib.md5(f"{turn.domain}|{turn.key}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "little") % 100 < HELD_OUT_PERCENT


def training_turn(rng: random.Random, domain: str) -> Turn:
    """A turn that is not held out."""
    while is_held_out(turn := DOMAINS[domain](rng)):
        pass
    return turn


def conversation(rng: random.Random, turns: int) -> Conversation:
    """A conversation of ``turns`` turns, mostly within one domain."""
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    first = rng.choices(names, weights)[0]
    domains = [first]
    while len(domains) < turns:
        same = rng.random() < 0.5
        domains.append(first if same else rng.choices(names, weights)[0])
    system = rng.choice(SYSTEM) if rng.random() < 0.12 else ""
    thinking = rng.random() < THINKING_SHARE
    return Conversation(system, tuple(training_turn(rng, d) for d in domains), thinking)


def documents(seed: int, pool: int, count: int, long: float = 0.0) -> list[Conversation]:
    """``count`` conversations of one pool; the same arguments give the same text.

    ``long`` is the share of conversations with 5 to 14 turns.
    """
    rng = random.Random(f"{seed}/{pool}")
    out = []
    for _ in range(count):
        turns = rng.randint(5, 14) if rng.random() < long else rng.choices((1, 2, 3, 4), (55, 25, 12, 8))[0]
        out.append(conversation(rng, turns))
    return out
