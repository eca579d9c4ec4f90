"""What an answer continues and how, and what it reports on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dspark_local.engine.calibration import Calibration
from dspark_local.engine.constraints import Constraint
from dspark_local.engine.logprobs import TokenScore
from dspark_local.engine.scheduling import Off, Scheduler
from dspark_local.errors import ContextLengthError, UsageError
from dspark_local.events import Finished, PrefillProgress, RoundDone
from dspark_local.request import SamplingSettings

PREFILL_CHUNK = 512


class Calibrator(Protocol):
    """Turns a draft's raw confidences into probabilities."""

    def apply(self, confidences: Sequence[float]) -> list[float]:
        """Calibrated confidences, position by position."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What to continue and how.

    end_ids stop the answer and belong to it. `watch` is shown every decided token in order and answers True when the
    answer ends with it (a stop string is complete); later tokens of the same block are then dropped. `learn` is told
    of every block of the draft: its raw confidences, how many drafts were verified, how many of these were kept.
    repeatable, with a seed, makes the text a function of the seed alone (see PositionNoise). constraint is this
    answer's own: it moves with it. With top_logprobs, `scored` is shown every decided token just before `watch` is, and
    the end token too.
    """

    prompt: Sequence[int]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    scheduler: Scheduler = field(default_factory=Off)
    calibration: Calibrator = field(default_factory=Calibration)
    end_ids: frozenset[int] = frozenset()
    watch: Callable[[int], bool] = lambda token: False
    repeatable: bool = False
    learn: Callable[[Sequence[float], int, int], None] = lambda confidences, verified, kept: None
    prefill_chunk: int = PREFILL_CHUNK
    constraint: Constraint | None = None
    top_logprobs: int | None = None
    scored: Callable[[TokenScore], None] = lambda score: None


class Step(NamedTuple):
    """Tokens decided by one pass; `round` is None for the first token, which the prefill decides."""

    token_ids: tuple[int, ...]
    round: RoundDone | None = None


Progress = PrefillProgress | Step | Finished


def check_prompt(prompt: Sequence[int], vocab_size: int, context_length: int) -> None:
    """UsageError or ContextLengthError when a prompt cannot be continued."""
    check_ids(prompt, vocab_size)
    if len(prompt) >= context_length:
        raise ContextLengthError(len(prompt), context_length)


def check_ids(token_ids: Sequence[int], vocab_size: int) -> None:
    """UsageError when there are no ids or one is outside the vocabulary."""
    if not token_ids:
        raise UsageError("There are no tokens: the prompt is empty.", hint="Give at least one token.")
    for index, token in enumerate(token_ids):
        if not 0 <= token < vocab_size:
            raise UsageError(
                f"Token {index} is {token}, which the model does not have.",
                hint=f"Its ids go from 0 to {vocab_size - 1:,}; check that the ids were made with its tokenizer.",
            )


def check_bias(sampling: SamplingSettings, vocab_size: int) -> None:
    """UsageError when logit_bias names a token that the model does not have."""
    for token in sampling.logit_bias:
        if token >= vocab_size:
            raise UsageError(
                f"logit_bias names token {token}, which the model does not have.",
                hint=f"Its ids go from 0 to {vocab_size - 1:,}; check that the ids were made with its tokenizer.",
            )
