"""Blocks of another length than the draft's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.models.checkpoints import Draft
from tests.models.conftest import Tiny
from tests.models.drafts import Recorder, agrees_with_definition, draft_at, request
from tests.models.feeding import append, drafting, feed, first_wrong, sequences

KINDS: list[Draft] = ["dspark", "dflash", "mtp"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 4, 5, 6, 8, 13])
def test_a_block_of_any_length_agrees_with_float64(tiny: Callable[..., Tiny], kind: Draft, length: int) -> None:
    """13 is more than the window of 8."""
    model = tiny("FLASH", kind)
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:50].float())
        block, logits = draft_at(model, draft, 50, length=length)
    assert len(block.ids) == len(block.probabilities) == len(block.confidences) == length
    agrees_with_definition(model, 50, block, logits)


@pytest.mark.parametrize("kind", KINDS)
def test_several_sequences_in_one_pass_may_ask_for_different_lengths(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH", kind)
    drafter = model.drafter
    wanted = [(200, 2), (40, 0), (7, 9), (128, 1)]
    with drafting(drafter, len(wanted)) as held:
        for sequence, (position, _) in zip(held, wanted, strict=True):
            drafter.observe(sequence, 0, model.taps[:position].float())
        recorders = [Recorder() for _ in wanted]
        blocks = drafter.draft(
            [
                request(sequence, int(model.ids[position]), position, recorder, length)
                for sequence, (position, length), recorder in zip(held, wanted, recorders, strict=True)
            ]
        )
    assert [len(block.ids) for block in blocks] == [length or drafter.block_size for _, length in wanted]
    for (position, _), block, recorder in zip(wanted, blocks, recorders, strict=True):
        agrees_with_definition(model, position, block, torch.stack(recorder.logits))


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_block_can_be_verified_and_taken_back(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH", kind)
    target, drafter = model.target, model.drafter
    with sequences(target) as (sequence,), drafting(drafter) as (draft,):
        drafter.observe(draft, 0, feed(target, sequence, model.ids[:100], [50])[1])
        block = drafter.draft([request(draft, int(model.ids[100]), 100, Recorder(), 1000)])[0]
        append(target, sequence, [int(model.ids[100]), *block.ids])
        target.rewind(sequence, 100)
        output = append(target, sequence, model.ids[100:110])
    assert len(block.ids) == target.rewind_span - 1
    assert first_wrong(output.logits, model.run64.logits[100:110], 1e-4) == ""


def test_a_negative_length_is_refused(tiny: Callable[..., Tiny]) -> None:
    model = tiny("FLASH")
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:10].float())
        with pytest.raises(ValueError, match="-1"):
            model.drafter.draft([request(draft, 1, 10, Recorder(), -1)])
