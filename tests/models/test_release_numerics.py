"""The release's own rounding steps against the float64 definition with the same steps.

A value on the edge between two codes may fall to the other side in float32: a whole code step in one element, which
the next rounding multiplies. So long texts drift apart, as the definition does from itself when its embedding is moved
by float32 noise. Short texts are exact in nearly every row; that is the sharp test, and it has controls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from tests.models.conftest import LENGTH, Tiny
from tests.models.drafts import Recorder, request
from tests.models.feeding import append, drafting, feed, first_wrong, sequences
from tests.models.float64_oracle import RELEASE, Float64Oracle, Rounding

if TYPE_CHECKING:
    from dspark_models.protocols import Target

TOLERANCE = 1e-4
SWITCHES = {
    "activation_fp8": Rounding(activations=True),
    "kv_fp8": Rounding(kv=True),
    "index_fp4": Rounding(index_keys=True),
    "all": RELEASE,
}
PROMPTS = 16
PROMPT_LENGTH = 24  # closes six groups of four and one of sixteen


def rounding_target(model: Tiny, switch: str, dtype: torch.dtype = torch.float32) -> Target:
    from dspark_models import Numerics

    names = [name for name in SWITCHES if name != "all"] if switch == "all" else [switch]
    return model.load(numerics=Numerics(dtype=dtype, **dict.fromkeys(names, True)))[0]


def oracle(model: Tiny, rounding: Rounding) -> Float64Oracle:
    return Float64Oracle(model.config, model.float64.weights, rounding)


def row_errors(model: Tiny, target: Target, rounding: Rounding, sizes: list[int]) -> Tensor:
    """The largest logit error of each row of the short prompts, [PROMPTS, PROMPT_LENGTH]."""
    definition, errors = oracle(model, rounding), []
    for seed in range(PROMPTS):
        text = model.text(seed, PROMPT_LENGTH)
        with sequences(target) as (sequence,):
            logits, _ = feed(target, sequence, text, sizes)
        errors.append((logits.double() - definition.target(text).logits).abs().amax(1))
    return torch.stack(errors)


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("sizes", [[PROMPT_LENGTH], [5, 1]], ids=["whole", "decoding"])
def test_each_rounding_step_agrees_with_its_definition(
    tiny: Callable[[str], Tiny], switch: str, sizes: list[int]
) -> None:
    model = tiny("RELEASE")
    errors = row_errors(model, rounding_target(model, switch), SWITCHES[switch], sizes)
    assert float((errors < TOLERANCE).double().mean()) > 0.75
    assert float(errors.mean()) < 0.05


@pytest.mark.parametrize("left_out", ["activations", "kv"])
def test_the_comparison_notices_a_step_that_is_left_out(tiny: Callable[[str], Tiny], left_out: str) -> None:
    model = tiny("RELEASE")
    rounding = RELEASE._replace(**{left_out: False})
    errors = row_errors(model, rounding_target(model, "all"), rounding, [PROMPT_LENGTH])
    assert float((errors < TOLERANCE).double().mean()) < 0.02


def test_index_rounding_alone_is_exact_over_the_whole_text(tiny: Callable[[str], Tiny]) -> None:
    """It only selects, so float32 noise does not grow; and it does select other entries than without rounding."""
    model, definition = tiny("RELEASE"), oracle(tiny("RELEASE"), SWITCHES["index_fp4"])
    target = rounding_target(model, "index_fp4")
    with sequences(target) as (sequence,):
        logits, _ = feed(target, sequence, model.ids, [100, 1, 1, 5])
    expected = definition.target(model.ids).logits
    assert first_wrong(logits, expected, TOLERANCE) == ""
    assert first_wrong(expected, model.run64.logits, 0.1) != ""


@pytest.mark.parametrize("switch", ["activation_fp8", "kv_fp8", "all"])
def test_long_texts_drift_less_than_the_step_itself_changes(tiny: Callable[[str], Tiny], switch: str) -> None:
    model = tiny("RELEASE")
    target = rounding_target(model, switch)
    with sequences(target) as (sequence,):
        logits, _ = feed(target, sequence, model.ids, [LENGTH])
    expected = oracle(model, SWITCHES[switch]).target(model.ids).logits
    drift = (logits.double() - expected).abs().mean()
    effect = (expected - model.run64.logits).abs().mean()
    assert float(drift) < 0.4 * float(effect)


def test_auto_on_a_cpu_takes_all_steps_in_float32(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("RELEASE")
    logits = []
    for target in (rounding_target(model, "all"), model.load(dtype="auto")[0]):
        with sequences(target) as (sequence,):
            logits.append(append(target, sequence, model.ids).logits)
    assert torch.equal(logits[0], logits[1])


def test_float32_takes_no_rounding_step(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("RELEASE")
    with sequences(model.target) as (sequence,):
        logits = append(model.target, sequence, model.ids).logits
    assert first_wrong(logits, model.run64.logits, TOLERANCE) == ""


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.08), ("float16", 0.02)])
def test_sixteen_bit_arithmetic_alone_stays_near_the_pure_formulas(
    tiny: Callable[[str], Tiny], dtype: str, bound: float
) -> None:
    """The mean logit error; the reference measured 0.011 for bfloat16 on another tiny model with logits of std 1.1."""
    from dspark_models import Numerics

    model = tiny("RELEASE")
    target, _ = model.load(numerics=Numerics(dtype=getattr(torch, dtype)))
    with sequences(target) as (sequence,):
        logits, _ = feed(target, sequence, model.ids, [64])
    assert logits.dtype == torch.float32
    assert float((logits.double() - model.run64.logits).abs().mean()) < bound


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_with_the_rounding_steps_stays_near_the_definition(tiny: Callable[[str], Tiny], dtype: str) -> None:
    """Rounding inputs to 16 bit flips many codes, so this bound is about the whole, not about rows."""
    model = tiny("RELEASE")
    target, _ = model.load(dtype=dtype)
    with sequences(target) as (sequence,):
        logits = feed(target, sequence, model.ids, [64])[0].double()
    expected = model.rounded64.target(model.ids).logits
    assert torch.isfinite(logits).all()
    assert float(torch.corrcoef(torch.stack([logits.flatten(), expected.flatten()]))[0, 1]) > 0.95


def test_the_draft_takes_the_same_steps(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("RELEASE")
    _, drafter = model.load(dtype="auto")
    definition, taps, close = model.rounded64, model.run64.taps, []
    with drafting(drafter) as (draft,):
        for position in range(1, 45):
            drafter.observe(draft, position - 1, taps[position - 1 : position].float())
            recorder = Recorder()
            anchor = int(model.ids[position])
            block = drafter.draft([request(draft, anchor, position, recorder)])[0]
            expected = definition.draft(taps[:position], anchor, block.ids[:-1])
            close.append(float((torch.stack(recorder.logits).double() - expected.logits).abs().max()) < TOLERANCE)
            pure = model.float64.draft(taps[:position], anchor, block.ids[:-1])
            assert float((pure.logits - expected.logits).abs().max()) > 100 * TOLERANCE
    assert sum(close) > 0.6 * len(close)


def test_latent_rows_take_584_bytes_and_index_keys_68(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("RELEASE_ROWS")
    held = [model.load(dtype="auto", context_length=n, max_sequences=1)[0].bytes_held() for n in (256, 512)]
    rows_of_four, rows_of_sixteen = 256 // 4, 256 // 16
    assert held[1]["compressed"] - held[0]["compressed"] == 584 * (rows_of_four + rows_of_sixteen)
    assert held[1]["index"] - held[0]["index"] == 68 * rows_of_four
    assert held[0]["window"] % 584 == 0
    assert held[0]["window"] == held[1]["window"]


def test_every_further_sequence_takes_the_same_bytes(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("RELEASE_ROWS")
    one, two = (model.load(dtype="auto", max_sequences=n)[0].bytes_held() for n in (1, 2))
    for part in ("window", "compressed", "index", "compressor_state"):
        assert two[part] == 2 * one[part] > 0
    assert two["weights"] == one["weights"]
