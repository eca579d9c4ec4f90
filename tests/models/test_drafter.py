"""The DSpark draft in float32 against the float64 definition, and its state across rounds with rejections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.models.conftest import Tiny
from tests.models.feeding import append, drafting, feed, sequences, worst

if TYPE_CHECKING:
    from dspark_models.protocols import DraftBlock, DraftRequest

LOGITS = 1e-4
CONFIDENCE = 1e-5
POSITIONS = [1, 5, 8, 9, 100, 127, 128, 129, 300]
"""On both sides of the windows of 8 and of 128 tokens."""


class Recorder:
    """A sampler that draws the ids it was told to and keeps the logits it was shown."""

    def __init__(self, ids: Sequence[int] | None = None) -> None:
        self.ids = ids
        self.logits: list[Tensor] = []
        self.slots: list[int] = []

    def __call__(self, slot: int, logits: Tensor) -> tuple[int, Tensor | None]:
        self.slots.append(slot)
        self.logits.append(logits.clone())
        return (int(logits.argmax()) if self.ids is None else self.ids[slot]), None


def request(sequence: int, anchor: int, position: int, sampler: Recorder) -> DraftRequest:
    from dspark_models.protocols import DraftRequest

    return DraftRequest(sequence, anchor, position, sampler)


def draft_at(model: Tiny, sequence: int, position: int, ids: Sequence[int] | None = None) -> tuple[DraftBlock, Tensor]:
    recorder = Recorder(ids)
    anchor = int(model.ids[position])
    block = model.drafter.draft([request(sequence, anchor, position, recorder)])[0]
    assert recorder.slots == list(range(model.drafter.block_size))
    return block, torch.stack(recorder.logits)


def agrees_with_definition(model: Tiny, position: int, block: DraftBlock, logits: Tensor, taps: Tensor) -> None:
    expected = model.float64.draft(taps[:position], int(model.ids[position]), block.ids[:-1])
    assert logits.dtype == torch.float32
    assert worst(logits, expected.logits) < LOGITS
    assert worst(torch.tensor(block.confidences), expected.confidences) < CONFIDENCE


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO"])
@pytest.mark.parametrize("position", POSITIONS)
def test_chained_logits_and_confidences_agree_with_float64(
    tiny: Callable[[str], Tiny], name: str, position: int
) -> None:
    model = tiny(name)
    with sequences(model.target) as (sequence,), drafting(model.drafter) as (draft,):
        _, taps = feed(model.target, sequence, model.ids[:position], [97])
        model.drafter.observe(draft, 0, taps)
        greedy, greedy_logits = draft_at(model, draft, position)
        forced_ids = [int(i) for i in model.text(position, model.drafter.block_size)]
        forced, forced_logits = draft_at(model, draft, position, forced_ids)
    agrees_with_definition(model, position, greedy, greedy_logits, model.run64.taps)
    assert greedy.ids == [int(i) for i in greedy_logits.argmax(-1)]
    assert forced.ids == forced_ids
    agrees_with_definition(model, position, forced, forced_logits, model.run64.taps)


@pytest.mark.parametrize("position", [6, 200])
def test_base_logits_are_the_chained_ones_without_the_markov_bias(tiny: Callable[[str], Tiny], position: int) -> None:
    model = tiny("FLASH_ODD")
    dense = model.float64.weights
    stage = "mtp.2.markov_head.markov_w"
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.run64.taps[:position].float())
        block, logits = draft_at(model, draft, position)
    before = torch.tensor([int(model.ids[position]), *block.ids[:-1]])
    bias = dense[f"{stage}1.weight"][before] @ dense[f"{stage}2.weight"].T
    expected = model.float64.draft(model.run64.taps[:position], int(model.ids[position]), block.ids[:-1])
    assert worst(logits - bias, expected.base) < LOGITS
    assert float(bias.std()) > 0.5


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD"])
def test_draft_after_rounds_with_rejections_equals_a_freshly_observed_one(
    tiny: Callable[[str], Tiny], name: str
) -> None:
    """140 rounds from position 120 on: every residue modulo 4 and 128; only committed tokens are observed."""
    model = tiny(name)
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
                agrees_with_definition(model, position, block, logits, model.run64.taps)
        drafter.observe(fresh, 0, model.run64.taps[:position].float())
        again, again_logits = draft_at(model, fresh, position)
        block, logits = draft_at(model, lived, position)
    assert again.ids == block.ids
    assert worst(logits, again_logits) < LOGITS
    assert worst(torch.tensor(block.confidences), torch.tensor(again.confidences)) < CONFIDENCE


def feed_prompt(model: Tiny, sequence: int, length: int) -> tuple[int, Tensor]:
    return length, feed(model.target, sequence, model.ids[:length], [50])[1]


def test_drafting_leaves_no_trace(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.run64.taps[:131].float())
        first, first_logits = draft_at(model, draft, 131)
        draft_at(model, draft, 131, [3] * model.drafter.block_size)
        second, second_logits = draft_at(model, draft, 131)
    assert first == second
    assert torch.equal(first_logits, second_logits)


def test_blocks_of_several_sequences_in_one_pass_equal_their_own(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    drafter = model.drafter
    places = [200, 40, 128]
    with drafting(drafter, 3) as held:
        for sequence, position in zip(held, places, strict=True):
            drafter.observe(sequence, 0, model.run64.taps[:position].float())
        recorders = [Recorder() for _ in places]
        blocks = drafter.draft(
            [
                request(sequence, int(model.ids[position]), position, recorder)
                for sequence, position, recorder in zip(held, places, recorders, strict=True)
            ]
        )
    for position, block, recorder in zip(places, blocks, recorders, strict=True):
        agrees_with_definition(model, position, block, torch.stack(recorder.logits), model.run64.taps)


def test_the_context_may_arrive_in_pieces_and_be_rewound(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    drafter, taps = model.drafter, model.run64.taps.float()
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
    agrees_with_definition(model, 305, block, logits, model.run64.taps)


@pytest.mark.parametrize("length", [3, 90, 128, 250])
def test_a_restored_drafter_equals_a_fresh_one(tiny: Callable[[str], Tiny], length: int) -> None:
    model = tiny("FLASH_ODD")
    drafter, taps = model.drafter, model.run64.taps.float()
    with drafting(drafter) as (draft,):
        drafter.observe(draft, 0, taps[:length])
        snapshot = drafter.snapshot(draft)
        drafter.observe(draft, length, taps[300:600])
        drafter.restore(draft, snapshot)
        drafter.observe(draft, length, taps[length : length + 2])
        block, logits = draft_at(model, draft, length + 2)
    agrees_with_definition(model, length + 2, block, logits, model.run64.taps)


def test_a_gap_in_the_observed_positions_is_refused(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH")
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.run64.taps[:10].float())
        with pytest.raises(ValueError):
            model.drafter.observe(draft, 12, model.run64.taps[12:14].float())


def test_a_directory_without_dspark_tensors_has_no_drafter(tmp_path_factory: pytest.TempPathFactory) -> None:
    from dspark_models import load_drafter, load_target
    from tests.models.checkpoints import random_checkpoint
    from tests.models.configs import FLASH

    for kind in ("none", "mtp"):
        path = random_checkpoint(FLASH, draft=kind).write(tmp_path_factory.mktemp(kind))
        target = load_target(path, dtype="float32", device="cpu", context_length=64)
        assert load_drafter(path, target) is None


def test_rewinds_of_the_context_in_a_row_are_refused_or_exact(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    drafter, taps = model.drafter, model.run64.taps.float()
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
    agrees_with_definition(model, position, block, logits, model.run64.taps)
