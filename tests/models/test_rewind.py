"""After a rejected draft, a rewind or a restore, the cache holds the accepted text and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.models.conftest import Tiny
from tests.models.feeding import append, first_wrong, sequences

TOLERANCE = 1e-4
DRAFTS = 5


def wrong_tokens(model: Tiny, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.config["vocab_size"], (count,), generator=generator)


@pytest.mark.parametrize(
    ("name", "start", "stop"),
    [("FLASH_ODD", 380, 512), ("FLASH", 0, 40), ("PRO", 90, 126)],
    ids=["ratio_128_all_residues", "ratio_16_from_the_first_token", "pro_ratio_16"],
)
def test_next_step_after_a_rejection_equals_the_accepted_text_at_every_residue(
    tiny: Callable[[str], Tiny], name: str, start: int, stop: int
) -> None:
    """Each position of two HCA groups is verified once; the number of kept drafts runs through 0..5 for each residue.

    132 positions with 6 values of `kept` that shift by one every round cover every residue modulo 4 with every
    value, and every residue modulo 128 with at least one.
    """
    model = tiny(name)
    target = model.target
    with sequences(target) as (sequence,):
        if start:
            append(target, sequence, model.ids[:start])
        for position in range(start, stop):
            kept = (position + position // 12) % (DRAFTS + 1)
            right = model.ids[position : position + kept + 1]
            block = torch.cat([right, wrong_tokens(model, DRAFTS - kept, position)])
            output = append(target, sequence, block)
            assert first_wrong(output.logits[: kept + 1], model.logits[position : position + kept + 1], TOLERANCE) == ""
            following = position + kept + 1
            target.rewind(sequence, following)
            step = append(target, sequence, model.ids[following : following + 1])
            where = f"position {position}, kept {kept}"
            assert (where, first_wrong(step.logits, model.logits[following : following + 1], TOLERANCE)) == (where, "")
            # Back to one token further than before: at most DRAFTS + 1 from the furthest token ever written.
            target.rewind(sequence, position + 1)


def test_a_rewind_across_every_group_boundary_equals_a_fresh_prefill(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH")
    target = model.target
    for length in (16, 17, 31, 32, 33, 64, 128, 130):
        with sequences(target, 2) as (rewound, fresh):
            append(target, rewound, model.ids[:length])
            append(target, rewound, wrong_tokens(model, target.rewind_span, length))
            target.rewind(rewound, length)
            append(target, fresh, model.ids[:length])
            for sequence in (rewound, fresh):
                output = append(target, sequence, model.ids[length : length + 40])
                assert first_wrong(output.logits, model.logits[length : length + 40], TOLERANCE) == ""


def test_a_rewind_further_than_the_span_is_refused(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    assert model.target.rewind_span >= DRAFTS + 1
    with sequences(model.target) as (sequence,):
        append(model.target, sequence, model.ids[:400])
        with pytest.raises(ValueError):
            model.target.rewind(sequence, 401)
        with pytest.raises(ValueError):
            model.target.rewind(sequence, 400 - model.target.rewind_span - 200)
        assert model.target.length(sequence) == 400
        model.target.rewind(sequence, 400)
        output = append(model.target, sequence, model.ids[400:401])
    assert first_wrong(output.logits, model.logits[400:401], TOLERANCE) == ""


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 127, 128, 129, 200, 254])
def test_a_restored_snapshot_equals_a_fresh_prefill(tiny: Callable[[str], Tiny], name: str, length: int) -> None:
    model = tiny(name)
    target = model.target
    with sequences(target) as (sequence,):
        append(target, sequence, model.ids[:length])
        snapshot = target.snapshot(sequence)
        append(target, sequence, model.text(3, 300))
        for _ in range(2):  # a snapshot serves more than once
            target.restore(sequence, snapshot)
            assert target.length(sequence) == length
            output = append(target, sequence, model.ids[length : length + 150])
            assert first_wrong(output.logits, model.logits[length : length + 150], TOLERANCE) == ""


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO"])
@pytest.mark.parametrize("length", [1, 3, 4, 127, 128, 200])
def test_a_sequence_that_adopts_a_snapshot_of_another_goes_on_as_from_a_fresh_prefill(
    tiny: Callable[[str], Tiny], name: str, length: int
) -> None:
    model = tiny(name)
    target = model.target
    with sequences(target, 2) as (source, copy):
        append(target, copy, model.text(8, 300))  # what an earlier user of the slot left in it
        target.free_sequence(copy)
        append(target, source, model.ids[:length])
        snapshot = target.snapshot(source)
        append(target, source, model.text(3, 200))
        assert target.new_sequence() == copy
        target.adopt(copy, snapshot)
        append(target, source, model.text(5, 20))
        output = append(target, copy, model.ids[length : length + 150])
        assert first_wrong(output.logits, model.logits[length : length + 150], TOLERANCE) == ""
        with pytest.raises(ValueError, match="cannot take over"):
            target.adopt(copy, snapshot)
        with pytest.raises(ValueError, match="cannot take over"):
            target.adopt(source, snapshot)


def test_an_earlier_snapshot_stays_valid_under_a_later_one(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    target = model.target
    with sequences(target) as (sequence,):
        append(target, sequence, model.ids[:90])
        early = target.snapshot(sequence)
        append(target, sequence, model.ids[90:301])
        late = target.snapshot(sequence)
        append(target, sequence, model.text(4, 290))
        for snapshot, length in ((late, 301), (early, 90)):
            target.restore(sequence, snapshot)
            output = append(target, sequence, model.ids[length : length + 60])
            assert first_wrong(output.logits, model.logits[length : length + 60], TOLERANCE) == ""


def test_a_rewind_of_one_sequence_leaves_the_others_alone(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("PRO")
    target = model.target
    with sequences(target, 2) as (restless, quiet):
        append(target, quiet, model.ids[:70])
        append(target, restless, model.ids[:70])
        append(target, restless, wrong_tokens(model, 6, 1))
        target.rewind(restless, 70)
        snapshot = target.snapshot(restless)
        append(target, restless, wrong_tokens(model, 140, 2))
        target.restore(restless, snapshot)
        for sequence in (quiet, restless):
            output = append(target, sequence, model.ids[70:120])
            assert first_wrong(output.logits, model.logits[70:120], TOLERANCE) == ""


def test_rewinds_in_a_row_are_refused_or_exact(tiny: Callable[[str], Tiny]) -> None:
    """Each is within the span, together they reach back to rows that the furthest token has overwritten."""
    model = tiny("FLASH_ODD")
    target, span = model.target, model.target.rewind_span
    with sequences(target) as (sequence,):
        append(target, sequence, model.ids[:500])
        for length in range(500 - span, 500 - 8 * span, -span):
            try:
                target.rewind(sequence, length)
            except ValueError:
                length = target.length(sequence)
                break
        output = append(target, sequence, model.ids[length : length + 1])
    assert first_wrong(output.logits, model.logits[length : length + 1], TOLERANCE) == ""


def test_a_snapshot_of_a_rewound_sequence_remembers_how_far_back_it_may_go(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    target, span = model.target, model.target.rewind_span
    with sequences(target) as (sequence,):
        append(target, sequence, model.ids[:400])
        target.rewind(sequence, 400 - span)
        snapshot = target.snapshot(sequence)
        append(target, sequence, model.text(6, 200))
        target.restore(sequence, snapshot)
        length = 400 - 2 * span
        try:
            target.rewind(sequence, length)
        except ValueError:
            length = target.length(sequence)
        output = append(target, sequence, model.ids[length : length + 1])
    assert first_wrong(output.logits, model.logits[length : length + 1], TOLERANCE) == ""


@pytest.mark.parametrize("lost", [6, 200])
def test_after_a_pass_that_broke_off_the_next_one_is_refused_or_exact(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """A failure late in a pass leaves rows of it in the caches; a long pass has overwritten rows still needed."""
    model = tiny("FLASH_ODD")
    target = model.target

    def fail(*_: object) -> None:
        raise MemoryError

    with sequences(target) as (sequence,):
        append(target, sequence, model.ids[:300])
        with monkeypatch.context() as patch:
            patch.setattr("dspark_models.deepseek_v4.target.collapse_streams", fail)
            with pytest.raises(MemoryError):
                append(target, sequence, model.text(7, lost))
        assert target.length(sequence) == 300
        try:
            output = append(target, sequence, model.ids[300:310])
        except (ValueError, RuntimeError):
            assert lost > target.rewind_span
        else:
            assert first_wrong(output.logits, model.logits[300:310], TOLERANCE) == ""
