"""Drafts of every kind in float32 against their float64 definitions, and their state across rounds with rejections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.checkpoints import Draft, random_checkpoint
from tests.models.configs import FLASH
from tests.models.conftest import Tiny
from tests.models.drafts import CONFIDENCE, LOGITS, Recorder, agrees_with_definition, draft_at, request
from tests.models.feeding import append, drafting, feed, sequences, worst

POSITIONS = [1, 5, 8, 9, 100, 127, 128, 129, 300]
"""On both sides of the windows of 8 and of 128 tokens."""

STATES: list[Draft] = ["dspark", "mtp"]
"""The kinds that keep different state; those of the DFlash kind keep what DSpark does."""


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in ("FLASH", "FLASH_ODD", "PRO") for kind in STATES])
@pytest.mark.parametrize("position", POSITIONS)
def test_chained_logits_and_confidences_agree_with_float64(
    tiny: Callable[..., Tiny], name: str, kind: Draft, position: int
) -> None:
    model = tiny(name, kind)
    with sequences(model.target) as (sequence,), drafting(model.drafter) as (draft,):
        _, taps = feed(model.target, sequence, model.ids[:position], [97])
        model.drafter.observe(draft, 0, taps)
        greedy, greedy_logits = draft_at(model, draft, position)
        forced_ids = [int(i) for i in model.text(position, model.drafter.block_size)]
        forced, forced_logits = draft_at(model, draft, position, forced_ids)
    agrees_with_definition(model, position, greedy, greedy_logits)
    assert greedy.ids == [int(i) for i in greedy_logits.argmax(-1)]
    assert forced.ids == forced_ids
    agrees_with_definition(model, position, forced, forced_logits)


@pytest.mark.parametrize("position", [6, 200])
def test_base_logits_are_the_chained_ones_without_the_markov_bias(tiny: Callable[..., Tiny], position: int) -> None:
    model = tiny("FLASH_ODD")
    dense = model.float64.weights
    stage = "mtp.2.markov_head.markov_w"
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:position].float())
        block, logits = draft_at(model, draft, position)
    before = torch.tensor([int(model.ids[position]), *block.ids[:-1]])
    bias = dense[f"{stage}1.weight"][before] @ dense[f"{stage}2.weight"].T
    expected = model.float64.draft(model.taps[:position], int(model.ids[position]), block.ids[:-1])
    assert worst(logits - bias, expected.base) < LOGITS
    assert float(bias.std()) > 0.5


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD"])
@pytest.mark.parametrize("kind", STATES)
def test_draft_after_rounds_with_rejections_equals_a_freshly_observed_one(
    tiny: Callable[..., Tiny], kind: Draft, name: str
) -> None:
    """140 rounds from position 120 on: every residue modulo 4 and 128; only committed tokens are observed."""
    model = tiny(name, kind)
    target, drafter = model.target, model.drafter
    with sequences(target) as (sequence,), drafting(drafter, 2) as (lived, fresh):
        position, taps = feed_prompt(model, sequence, 120)
        drafter.observe(lived, 0, taps)
        for round_number in range(140):
            kept = round_number % 2  # mostly rejections, so that the walk visits every position or nearly so
            forced = [int(i) for i in model.text(round_number, drafter.block_size)]
            draft_at(model, lived, position, forced)
            right = model.ids[position : position + kept + 1]
            wrong = torch.tensor(forced[kept:])
            output = append(target, sequence, torch.cat([right, wrong]))
            target.rewind(sequence, position + kept + 1)
            drafter.observe(lived, position, output.taps[: kept + 1])
            position += kept + 1
            if round_number % 4 == 3:
                block, logits = draft_at(model, lived, position)
                agrees_with_definition(model, position, block, logits)
        drafter.observe(fresh, 0, model.taps[:position].float())
        again, again_logits = draft_at(model, fresh, position)
        block, logits = draft_at(model, lived, position)
    assert again.ids == block.ids
    assert worst(logits, again_logits) < LOGITS
    assert worst(torch.tensor(block.confidences), torch.tensor(again.confidences)) < CONFIDENCE


def feed_prompt(model: Tiny, sequence: int, length: int) -> tuple[int, Tensor]:
    return length, feed(model.target, sequence, model.ids[:length], [50])[1]


@pytest.mark.parametrize("kind", STATES)
def test_drafting_leaves_no_trace(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH_ODD", kind)
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:131].float())
        first, first_logits = draft_at(model, draft, 131)
        draft_at(model, draft, 131, [3] * model.drafter.block_size)
        second, second_logits = draft_at(model, draft, 131)
    assert first == second
    assert torch.equal(first_logits, second_logits)


@pytest.mark.parametrize("kind", STATES)
def test_blocks_of_several_sequences_in_one_pass_equal_their_own(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH_ODD", kind)
    drafter = model.drafter
    places = [200, 40, 128]
    with drafting(drafter, 3) as held:
        for sequence, position in zip(held, places, strict=True):
            drafter.observe(sequence, 0, model.taps[:position].float())
        recorders = [Recorder() for _ in places]
        blocks = drafter.draft(
            [
                request(sequence, int(model.ids[position]), position, recorder)
                for sequence, position, recorder in zip(held, places, recorders, strict=True)
            ]
        )
    for position, block, recorder in zip(places, blocks, recorders, strict=True):
        agrees_with_definition(model, position, block, torch.stack(recorder.logits))


@pytest.mark.parametrize("kind", STATES)
def test_the_context_may_arrive_in_pieces_and_be_rewound(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH_ODD", kind)
    drafter, taps = model.drafter, model.taps.float()
    with drafting(drafter) as (draft,):
        for start in range(0, 300, 37):
            drafter.observe(draft, start, taps[start : min(start + 37, 300)])
        drafter.rewind(draft, 296)
        drafter.observe(draft, 296, taps[400:404])
        drafter.rewind(draft, 297)
        drafter.observe(draft, 297, torch.zeros(3, taps.shape[1]))
        drafter.rewind(draft, 296)
        drafter.observe(draft, 296, taps[296:305])
        block, logits = draft_at(model, draft, 305)
    agrees_with_definition(model, 305, block, logits)


@pytest.mark.parametrize("length", [3, 90, 128, 250])
@pytest.mark.parametrize("kind", STATES)
def test_a_restored_drafter_equals_a_fresh_one(tiny: Callable[..., Tiny], kind: Draft, length: int) -> None:
    model = tiny("FLASH_ODD", kind)
    drafter, taps = model.drafter, model.taps.float()
    with drafting(drafter) as (draft,):
        drafter.observe(draft, 0, taps[:length])
        snapshot = drafter.snapshot(draft)
        drafter.observe(draft, length, taps[300:600])
        drafter.restore(draft, snapshot)
        drafter.observe(draft, length, taps[length : length + 2])
        block, logits = draft_at(model, draft, length + 2)
    agrees_with_definition(model, length + 2, block, logits)


@pytest.mark.parametrize("kind", STATES)
def test_a_gap_in_the_observed_positions_is_refused(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH", kind)
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:10].float())
        with pytest.raises(ValueError):
            model.drafter.observe(draft, 12, model.taps[12:14].float())


def test_a_directory_without_a_draft_has_no_drafter(tmp_path: Path) -> None:
    from dspark_models import load_drafter, load_target

    path = random_checkpoint(FLASH, draft="none").write(tmp_path)
    target = load_target(path, dtype="float32", device="cpu", context_length=64)
    assert load_drafter(path, target) is None


@pytest.mark.parametrize("kind", STATES)
def test_rewinds_of_the_context_in_a_row_are_refused_or_exact(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH_ODD", kind)
    drafter, taps = model.drafter, model.taps.float()
    with drafting(drafter) as (draft,):
        drafter.observe(draft, 0, taps[:500])
        position = 500
        for length in range(480, 300, -20):
            try:
                drafter.rewind(draft, length)
            except ValueError:
                break
            position = length
        block, logits = draft_at(model, draft, position)
    agrees_with_definition(model, position, block, logits)
