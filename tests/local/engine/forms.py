"""What the tests of bias, scores and forms share: letters as a vocabulary, and answers as lists of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.engine.constraint_vocabulary import GrammarVocabulary
from dspark_local.engine.generate import generate
from dspark_local.engine.session import Session
from dspark_local.engine.task import Step, Task

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letters(size: int, end: int) -> GrammarVocabulary:
    """Ids spell the alphabet, but `end` ends the answer."""
    tokens = [b"<end>" if i == end else LETTERS[i].encode() for i in range(size)]
    return GrammarVocabulary(tokens, [], [end], lambda text: [LETTERS.index(c) for c in text])


def spelled(tokens: Sequence[int]) -> str:
    """The letters of ids."""
    return "".join(LETTERS[token] for token in tokens)


def run(session: Session, task: Task) -> tuple[list[int], list[int], int]:
    """(tokens, the place of each in its round, drafts kept)."""
    steps = [event for event in generate(session, task) if isinstance(event, Step)]
    tokens = [token for step in steps for token in step.token_ids]
    places = [place for step in steps for place in range(len(step.token_ids))]
    return tokens, places, sum(step.round.accepted for step in steps if step.round)
