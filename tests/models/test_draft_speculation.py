"""Greedy decoding with each kind of draft gives the tokens of plain decoding, whatever is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.models.checkpoints import Draft
from tests.models.conftest import Tiny
from tests.models.feeding import append, drafting, sequences

if TYPE_CHECKING:
    from dspark_models.protocols import DraftBlock, DraftSampler

KINDS: list[Draft] = ["dspark", "dflash", "markov_only", "confidence_only", "mtp"]
PROMPT = 61
TOKENS = 70


def plain(model: Tiny) -> list[int]:
    """TOKENS tokens after the prompt, one a pass."""
    with sequences(model.target) as (sequence,):
        logits = append(model.target, sequence, model.ids[:PROMPT]).logits
        answer: list[int] = []
        for _ in range(TOKENS):
            answer.append(int(logits[-1].argmax()))
            logits = append(model.target, sequence, answer[-1:]).logits
    return answer


def prompter(following: list[int], round_number: int) -> DraftSampler:
    """A random draft is never right, so this one is told the answer for some slots and left alone in the others."""

    def sample(slot: int, logits: Tensor) -> tuple[int, None]:
        is_told = slot < len(following) and slot < round_number % 7
        return (following[slot] if is_told else int(logits.argmax())), None

    return sample


def speculate(model: Tiny, known: list[int], lengths: list[int]) -> tuple[list[int], int]:
    """The same tokens by rounds of drafting and verifying -> (tokens, how many drafts were accepted)."""
    from dspark_models.protocols import DraftRequest

    target, drafter = model.target, model.drafter
    with sequences(target) as (sequence,), drafting(drafter) as (draft,):
        output = append(target, sequence, model.ids[:PROMPT])
        drafter.observe(draft, 0, output.taps)
        answer = [int(output.logits[-1].argmax())]
        accepted = round_number = 0
        while len(answer) < TOKENS:
            position, length = PROMPT + len(answer) - 1, lengths[round_number % len(lengths)]
            sampler = prompter(known[len(answer) :], round_number)
            block: DraftBlock = drafter.draft([DraftRequest(draft, answer[-1], position, sampler, length)])[0]
            output = append(target, sequence, [answer[-1], *block.ids])
            best = output.logits.argmax(-1).tolist()
            right = 0
            while right < len(block.ids) and block.ids[right] == best[right]:
                right += 1
            target.rewind(sequence, position + right + 1)
            drafter.observe(draft, position, output.taps[: right + 1])
            answer += best[: right + 1]
            accepted += right
            round_number += 1
    return answer[:TOKENS], accepted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[0], [8, 1, 3, 6]], ids=["own_length", "changing_lengths"])
def test_greedy_speculation_equals_plain_decoding(tiny: Callable[..., Tiny], kind: Draft, lengths: list[int]) -> None:
    model = tiny("FLASH", kind)
    expected = plain(model)
    answer, accepted = speculate(model, expected, lengths)
    assert answer == expected
    assert accepted > 20
    assert len(set(expected)) > 5


@pytest.mark.parametrize("kind", ["dspark", "dflash", "mtp"])
def test_the_draft_after_speculation_is_that_of_the_plain_text(tiny: Callable[..., Tiny], kind: Draft) -> None:
    """Token for token and in its distributions: a row of a rejected draft would show."""
    from dspark_models.protocols import DraftRequest

    model = tiny("FLASH", kind)
    target, drafter = model.target, model.drafter
    seen: list[list[Tensor]] = [[], []]

    def recording(into: list[Tensor]) -> DraftSampler:
        return lambda slot, logits: (into.append(logits.clone()), (int(logits.argmax()), None))[1]

    text = torch.cat([model.ids[:PROMPT], torch.tensor(plain(model))])
    with sequences(target, 2) as (walked, whole), drafting(drafter, 2) as (lived, fresh):
        drafter.observe(lived, 0, append(target, walked, text[:PROMPT]).taps)
        for position in range(PROMPT, PROMPT + 40):
            output = append(target, walked, torch.cat([text[position : position + 1], model.text(position, 5)]))
            target.rewind(walked, position + 1)
            drafter.observe(lived, position, output.taps[:1])
        drafter.observe(fresh, 0, append(target, whole, text[: PROMPT + 40]).taps)
        anchor = int(text[PROMPT + 40])
        for sequence, into in zip((lived, fresh), seen, strict=True):
            drafter.draft([DraftRequest(sequence, anchor, PROMPT + 40, recording(into))])
    assert torch.allclose(torch.stack(seen[0]), torch.stack(seen[1]), atol=1e-4, rtol=0)
