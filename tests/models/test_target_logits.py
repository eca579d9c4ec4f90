"""Logits of the engine in float32 against transformers, however the text is cut into passes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from tests.models.conftest import LENGTH, Tiny
from tests.models.feeding import append, feed, first_wrong, pieces, sequences

TOLERANCE = 1e-4
CHUNKINGS = {
    "whole": [LENGTH],
    "long_then_short": [129, 1, 2, 127, 128, 3],
    "uneven": [20, 13, 27, 64, 1, 1, 5],
    "beside_the_groups": [3, 5, 4, 17, 16, 15],
}
everywhere = pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO"])


@everywhere
@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_logits_agree_with_transformers_for_any_chunking(tiny: Callable[[str], Tiny], name: str, chunking: str) -> None:
    model = tiny(name)
    with sequences(model.target) as (sequence,):
        logits, taps = feed(model.target, sequence, model.ids, CHUNKINGS[chunking])
        assert model.target.length(sequence) == LENGTH
    assert first_wrong(logits, model.logits, TOLERANCE) == ""
    assert first_wrong(taps, model.run64.taps, TOLERANCE) == ""


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("FLASH", 200),
        ("PRO", 200),
        ("FLASH_ODD", 400),  # three of its groups of 128, and its window goes round
        *(pytest.param(name, LENGTH, marks=pytest.mark.slow) for name in ("FLASH", "FLASH_ODD", "PRO")),
    ],
)
def test_logits_agree_with_transformers_token_by_token(tiny: Callable[[str], Tiny], name: str, length: int) -> None:
    model = tiny(name)
    with sequences(model.target) as (sequence,):
        logits, _ = feed(model.target, sequence, model.ids[:length], [1])
    assert first_wrong(logits, model.logits[:length], TOLERANCE) == ""


@everywhere
def test_logits_agree_with_transformers_when_every_block_is_rewound_and_replayed(
    tiny: Callable[[str], Tiny], name: str
) -> None:
    """Each pass carries up to 5 wrong tokens behind the right ones, and the wrong ones are taken back."""
    model, draw = tiny(name), random.Random(5)
    rows = []
    with sequences(model.target) as (sequence,):
        while model.target.length(sequence) < LENGTH:
            start = model.target.length(sequence)
            right = model.ids[start : start + draw.randint(1, 6)]
            wrong = torch.tensor([draw.randrange(model.config["vocab_size"]) for _ in range(6 - len(right))])
            output = append(model.target, sequence, torch.cat([right, wrong.long()]))
            rows.append(output.logits[: len(right)])
            model.target.rewind(sequence, start + len(right))
            assert model.target.length(sequence) == start + len(right)
    assert first_wrong(torch.cat(rows), model.logits, TOLERANCE) == ""


@everywhere
def test_several_sequences_in_one_pass_do_not_disturb_each_other(tiny: Callable[[str], Tiny], name: str) -> None:
    from dspark_models.protocols import Run

    model = tiny(name)
    texts = [model.ids, model.text(1), model.text(2)]
    expected = [model.logits, *(model.transformers.logits(text) for text in texts[1:])]
    cuts = [pieces(texts[0], [61, 1, 30]), pieces(texts[1], [5]), pieces(texts[2], [130, 2, 2])]
    rows: list[list[torch.Tensor]] = [[], [], []]
    with sequences(model.target, 3) as held:
        for _ in range(60):  # the shorter cuts run out at different times
            runs, who = [], []
            for number in (2, 0, 1):
                piece = next(cuts[number], None)
                if piece is not None:
                    runs.append(Run(held[number], piece))
                    who.append(number)
            if not runs:
                break
            for number, output in zip(who, model.target.forward(runs), strict=True):
                rows[number].append(output.logits)
    for number in range(3):
        logits = torch.cat(rows[number])
        assert first_wrong(logits, expected[number][: len(logits)], TOLERANCE) == ""
        assert len(logits) >= 300


def test_the_caller_chooses_which_logits_are_computed(tiny: Callable[[str], Tiny]) -> None:
    from dspark_models.protocols import Run

    model = tiny("FLASH")
    with sequences(model.target, 2) as (first, second):
        none, last = model.target.forward([Run(first, model.ids[:30], "none"), Run(second, model.ids[:30], "last")])
        assert none.logits.shape == (0, model.config["vocab_size"])
        assert first_wrong(last.logits, model.logits[29:30], TOLERANCE) == ""
        assert last.logits.dtype == torch.float32
        assert none.taps.shape == last.taps.shape == (30, 3 * model.config["hidden_size"])
        output = append(model.target, first, model.ids[30:31])
    assert first_wrong(output.logits, model.logits[30:31], TOLERANCE) == ""


def test_a_used_sequence_starts_afresh_once_given_back(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("PRO")
    with sequences(model.target, 4) as held:
        for sequence in held:
            append(model.target, sequence, model.text(9, 150))
    with sequences(model.target, 4) as held:
        for sequence in held:
            assert model.target.length(sequence) == 0
            output = append(model.target, sequence, model.ids[:100])
            assert first_wrong(output.logits, model.logits[:100], TOLERANCE) == ""


def test_one_sequence_more_than_asked_for_is_refused(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH")
    with sequences(model.target, 4), pytest.raises(RuntimeError):
        model.target.new_sequence()


def test_a_run_past_the_context_is_refused_and_changes_nothing(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH")
    with sequences(model.target) as (sequence,):
        append(model.target, sequence, model.ids)
        with pytest.raises(ValueError):
            append(model.target, sequence, model.ids[: model.target.context_length - LENGTH + 1])
        assert model.target.length(sequence) == LENGTH


@pytest.mark.parametrize("context_length", [20, 128, 131])
def test_a_context_may_be_filled_to_its_last_token(tiny: Callable[[str], Tiny], context_length: int) -> None:
    model = tiny("FLASH_ODD")
    target, drafter = model.load(dtype="float32", context_length=context_length, max_sequences=1)
    assert target.context_length == context_length
    with sequences(target) as (sequence,):
        logits, _ = feed(target, sequence, model.ids[:context_length], [15, 1])
        assert first_wrong(logits, model.logits[:context_length], TOLERANCE) == ""
        with pytest.raises(ValueError):
            append(target, sequence, model.ids[:1])
        target.rewind(sequence, context_length - 1)
        output = append(target, sequence, model.ids[context_length - 1 : context_length])
    assert first_wrong(output.logits, model.logits[context_length - 1 : context_length], TOLERANCE) == ""
    assert drafter.block_size == 5


def test_verifying_several_sequences_and_rewinding_each_its_own_way(tiny: Callable[[str], Tiny]) -> None:
    """What a batched verify does: one pass for all, then every sequence keeps another number of tokens."""
    from dspark_models.protocols import Run

    model, draw = tiny("PRO"), random.Random(8)
    texts = [model.ids, model.text(1), model.text(2)]
    expected = [model.logits, *(model.transformers.logits(text) for text in texts[1:])]
    with sequences(model.target, 3) as held:
        for number, sequence in enumerate(held):
            append(model.target, sequence, texts[number][: 20 + 13 * number])
        for _ in range(40):
            runs, kept = [], []
            for sequence, text in zip(held, texts, strict=True):
                start, right = model.target.length(sequence), draw.randint(1, 5)
                wrong = torch.randint(0, 512, (draw.randint(0, 5),), generator=torch.Generator().manual_seed(start))
                runs.append(Run(sequence, torch.cat([text[start : start + right], wrong])))
                kept.append((start, right))
            outputs = model.target.forward(runs)
            for number, (start, right) in enumerate(kept):
                rows = expected[number][start : start + right]
                assert first_wrong(outputs[number].logits[:right], rows, TOLERANCE) == ""
                model.target.rewind(held[number], start + right)
