"""One question with its answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """A question, its answer and what identifies the pair.

    ``key`` names the combination of phrasing and slots; whether a turn is held
    out from training depends on it alone. ``reasoning`` is what thinking mode
    writes before ``thought_answer`` (``answer`` when that is empty).
    """

    domain: str
    key: str
    question: str
    answer: str
    reasoning: str
    thought_answer: str = ""

    @property
    def after_thinking(self) -> str:
        """The answer that follows the reasoning."""
        return self.thought_answer or self.answer


def pick(rng: random.Random, items: Sequence[T]) -> tuple[int, T]:
    """A random element and its index."""
    i = rng.randrange(len(items))
    return i, items[i]


def casual(rng: random.Random, question: str) -> tuple[str, str]:
    """The question as people type it, with the name of the variation.

    Half of them stay as written, the others lose capitals or the final mark.
    """
    roll = rng.random()
    if roll < 0.55:
        return "plain", question
    if roll < 0.75:
        return "lower", question[0].lower() + question[1:]
    if roll < 0.9:
        return "bare", question.rstrip("?.!")
    return "both", question[0].lower() + question[1:].rstrip("?.!")


def invented(rng: random.Random, syllables: int) -> str:
    """A word that no list holds, so that it can only be copied from the question.

    Mostly syllables, sometimes any letters.
    """
    if rng.random() < 0.35:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(rng.choice(letters) for _ in range(rng.randint(3, 2 + 2 * syllables)))
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))
