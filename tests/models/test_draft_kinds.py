"""What sets the kinds of draft apart: which heads they have, and which checkpoints count as which kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.models.checkpoints import Checkpoint, Draft, random_checkpoint
from tests.models.configs import FLASH
from tests.models.conftest import Tiny
from tests.models.drafts import Recorder, agrees_with_definition, draft_at, request
from tests.models.feeding import append, drafting, feed, sequences, worst

VARIANTS: list[Draft] = ["dflash", "markov_only", "confidence_only"]
ALL: list[Draft] = ["dspark", *VARIANTS, "mtp"]


@pytest.mark.parametrize(("name", "kind"), [("FLASH", kind) for kind in VARIANTS] + [("FLASH_ODD", "dflash")])
@pytest.mark.parametrize("position", [1, 9, 140])
def test_a_draft_without_one_head_or_both_agrees_with_float64(
    tiny: Callable[..., Tiny], name: str, kind: Draft, position: int
) -> None:
    model = tiny(name, kind)
    with sequences(model.target) as (sequence,), drafting(model.drafter) as (draft,):
        _, taps = feed(model.target, sequence, model.ids[:position], [97])
        model.drafter.observe(draft, 0, taps)
        for ids in (None, [int(i) for i in model.text(position, 5)]):
            block, logits = draft_at(model, draft, position, ids)
            agrees_with_definition(model, position, block, logits)


def test_a_dflash_draft_stays_exact_over_rounds_with_rejections(tiny: Callable[..., Tiny]) -> None:
    model = tiny("FLASH", "dflash")
    target, drafter, position = model.target, model.drafter, 120
    with sequences(target) as (sequence,), drafting(drafter) as (draft,):
        drafter.observe(draft, 0, feed(target, sequence, model.ids[:position], [50])[1])
        for round_number in range(24):  # 16 residues of the longest group
            forced = [int(i) for i in model.text(round_number, drafter.block_size)]
            block, logits = draft_at(model, draft, position, forced)
            agrees_with_definition(model, position, block, logits)
            kept = round_number % 3
            run = torch.cat([model.ids[position : position + kept + 1], torch.tensor(forced[kept:])])
            taps = append(target, sequence, run).taps
            target.rewind(sequence, position + kept + 1)
            drafter.observe(draft, position, taps[: kept + 1])
            position += kept + 1


@pytest.mark.parametrize("kind", ALL)
def test_a_confidence_never_depends_on_the_token_that_is_then_drawn(tiny: Callable[..., Tiny], kind: Draft) -> None:
    """Else cutting a block by it would favour some tokens over others."""
    model = tiny("FLASH", kind)
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:30].float())
        base = [int(i) for i in model.text(1, model.drafter.block_size)]
        first, _ = draft_at(model, draft, 30, base)
        for slot in range(len(base)):
            other = [*base[:slot], (base[slot] + 7) % 512, *base[slot + 1 :]]
            second, _ = draft_at(model, draft, 30, other)
            assert second.confidences[: slot + 1] == first.confidences[: slot + 1]
    assert all(0 < confidence < 1 for confidence in first.confidences)


@pytest.mark.parametrize("kind", ["dspark", "markov_only", "mtp"])
def test_what_was_drawn_before_does_matter(tiny: Callable[..., Tiny], kind: Draft) -> None:
    model = tiny("FLASH", kind)
    with drafting(model.drafter) as (draft,):
        model.drafter.observe(draft, 0, model.taps[:30].float())
        _, one = draft_at(model, draft, 30, [5] * model.drafter.block_size)
        _, other = draft_at(model, draft, 30, [6] * model.drafter.block_size)
    assert torch.equal(one[0], other[0])
    assert worst(one[1:], other[1:]) > 0.1


def test_an_mtp_draft_takes_the_release_s_rounding_steps(tiny: Callable[..., Tiny]) -> None:
    model = tiny("RELEASE", "mtp")
    _, drafter = model.load(dtype="auto")
    close = []
    with drafting(drafter) as (draft,):
        for position in range(1, 45):
            drafter.observe(draft, position - 1, model.taps[position - 1 : position].float())
            recorder = Recorder()
            block = drafter.draft([request(draft, int(model.ids[position]), position, recorder)])[0]
            expected = model.drafted64(position, block.ids, rounded=True).logits
            close.append(worst(torch.stack(recorder.logits), expected) < 1e-4)
            assert worst(model.drafted64(position, block.ids).logits, expected) > 1e-2
    assert sum(close) > 0.6 * len(close)


def test_an_mtp_draft_needs_a_token_before_the_anchor(tiny: Callable[..., Tiny]) -> None:
    model = tiny("FLASH", "mtp")
    with drafting(model.drafter) as (draft,), pytest.raises(ValueError, match="before the anchor"):
        model.drafter.draft([request(draft, 3, 0, Recorder())])


def test_the_target_taps_what_the_last_loaded_draft_reads(tmp_path: Path) -> None:
    from dspark_models import load_drafter, load_target

    paths = {kind: random_checkpoint(FLASH, draft=kind).write(tmp_path / kind) for kind in ("mtp", "dflash")}
    target = load_target(paths["mtp"], dtype="float32", device="cpu", context_length=64)
    widths = []
    with sequences(target) as (sequence,):
        widths.append(append(target, sequence, [1, 2]).taps.shape)
        for kind in ("mtp", "dflash"):
            load_drafter(paths[kind], target)
            widths.append(append(target, sequence, [1, 2]).taps.shape)
    hidden, streams = FLASH["hidden_size"], FLASH["hc_mult"]
    assert widths == [(2, 0), (2, (streams + 1) * hidden), (2, 3 * hidden)]


def refused(checkpoint: Checkpoint, path: Path) -> str:
    from dspark_models import CheckpointError, load_drafter, load_target

    written = checkpoint.write(path)
    target = load_target(written, dtype="float32", device="cpu", context_length=64, max_sequences=1)
    with pytest.raises(CheckpointError) as caught:
        load_drafter(written, target)
    return caught.value.message


@pytest.mark.parametrize("part", ["markov_w1", "markov_w2"])
def test_half_a_markov_head_is_refused_by_the_missing_half(tmp_path: Path, part: str) -> None:
    good = random_checkpoint(FLASH, draft="markov_only")
    name = f"mtp.2.markov_head.{part}.weight"
    stored = {key: tensor for key, tensor in good.stored.items() if key != name}
    assert name in refused(Checkpoint(good.config, stored), tmp_path / "model")


def test_a_head_on_another_stage_is_refused(tmp_path: Path) -> None:
    good = random_checkpoint(FLASH, draft="dflash")
    stored = {**good.stored, "mtp.0.confidence_head.proj.weight": torch.zeros(1, FLASH["hidden_size"])}
    assert "mtp.0.confidence_head" in refused(Checkpoint(good.config, stored), tmp_path / "model")


def test_a_markov_head_without_its_rank_is_refused_by_the_field(tmp_path: Path) -> None:
    good = random_checkpoint(FLASH, draft="dspark")
    config = {key: value for key, value in good.config.items() if key != "dspark_markov_rank"}
    assert "dspark_markov_rank" in refused(Checkpoint(config, good.stored), tmp_path / "model")


def test_a_confidence_head_that_expects_a_missing_markov_head_is_refused(tmp_path: Path) -> None:
    good = random_checkpoint(FLASH, draft="dspark")
    stored = {key: tensor for key, tensor in good.stored.items() if "markov_head" not in key}
    message = refused(Checkpoint(good.config, stored), tmp_path / "model")
    assert "mtp.2.confidence_head.proj.weight" in message
    assert "160" in message


def test_a_rank_in_the_config_of_a_draft_without_that_head_does_not_matter(tmp_path: Path) -> None:
    from dspark_models import load_drafter, load_target

    good = random_checkpoint(FLASH, draft="dflash")
    path = Checkpoint({**good.config, "dspark_markov_rank": 32}, good.stored).write(tmp_path / "model")
    target = load_target(path, dtype="float32", device="cpu", context_length=64, max_sequences=1)
    assert load_drafter(path, target) is not None


@pytest.mark.parametrize("name", ["mtp.0.h_proj.scale", "mtp.0.enorm.weight", "mtp.0.attn.wkv.weight"])
def test_a_missing_tensor_of_an_mtp_module_is_named(tmp_path: Path, name: str) -> None:
    good = random_checkpoint(FLASH, draft="mtp")
    stored = {key: tensor for key, tensor in good.stored.items() if key != name}
    assert name in refused(Checkpoint(good.config, stored), tmp_path / "model")
