"""Collecting rounds for a calibration: the engine answers prompts with every draft verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dspark_local.backend import Cancelled
from dspark_local.engine.reliability import PlayedRound, known_positions
from dspark_local.events import RoundDone
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings

if TYPE_CHECKING:
    from dspark_local.native import NativeBackend

ROUNDS_PER_ANSWER = 40
"""Where an answer is cut unless there are too few prompts for that."""

OnRounds = Callable[[int], None]
"""Told how many rounds there are, after each one."""


def play(
    backend: NativeBackend,
    prompts: Iterable[tuple[int, str]],
    *,
    temperature: float,
    wanted: int,
    per_answer: int,
    max_tokens: int,
    cancelled: Cancelled = lambda: False,
    on_rounds: OnRounds = lambda count: None,
) -> list[PlayedRound]:
    """Rounds at one sampling temperature, until there are `wanted`, the prompts end or it is cancelled.

    prompts are (number, text); the number is kept in the rounds, so a prompt that is asked again keeps its number. An
    answer is cut short after `per_answer` rounds: one that has lost its way and repeats itself would otherwise outweigh
    dozens of others. The backend needs a draft.
    """
    end_ids = frozenset(backend.tokenizer.eos_ids)
    block_size = backend.info.draft_block_size
    speculation = SpeculationSettings(mode="static", draft_tokens=block_size)
    rounds: list[PlayedRound] = []

    def until(limit: int) -> Cancelled:
        return lambda: cancelled() or len(rounds) >= limit

    for number, text in prompts:
        if cancelled() or len(rounds) >= wanted:
            break
        request = ChatRequest(
            messages=(ChatMessage("user", text),),
            # No seed: a seeded text is decided by a rule that keeps fewer drafts, and most requests bring none.
            sampling=SamplingSettings(temperature=temperature, max_tokens=max_tokens),
            speculation=speculation,
        )
        limit = min(len(rounds) + per_answer, wanted)
        for event in backend.chat(request, until(limit)):
            if isinstance(event, RoundDone) and event.source == "draft" and event.verified:
                # What prompt lookup adds behind the block is none of the draft's.
                own = min(event.verified, block_size)
                known = known_positions(event.draft_ids, own, end_ids)
                rounds.append(PlayedRound(event.confidences[:block_size], known, min(event.accepted, own), number))
                on_rounds(len(rounds))
    return rounds
