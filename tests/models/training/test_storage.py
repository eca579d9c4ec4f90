from pathlib import Path

import pytest
import torch

from dspark_models.training.checkpoint import read_checkpoint, write_checkpoint
from dspark_models.training.draft import Draft
from dspark_models.training.quantise import from_fp4, from_fp8, power_scale, to_fp4, to_fp8
from dspark_models.training.storage import round_module
from dspark_models.training.target import Target
from tests.models.training.shapes import TINY


def test_fp8_error_is_at_most_half_a_step() -> None:
    torch.manual_seed(0)
    w = torch.randn(200, 300) * 0.05
    value, scale = to_fp8(w)
    assert value.dtype == torch.float8_e4m3fn
    assert scale.shape == (2, 3)
    step = torch.maximum(w.abs() * 2**-4, torch.full_like(w, 2**-9 * float(w.abs().max()) / 128))
    assert ((from_fp8(value, scale) - w).abs() <= step).all()


def test_fp4_rounds_ties_to_the_even_code() -> None:
    w = torch.zeros(1, 32)
    w[0, :8] = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, -6.0])
    got = from_fp4(*to_fp4(w))[0, :8]
    assert got.tolist() == [0, 1, 1, 2, 2, 4, 4, -6]


def test_fp4_low_nibble_is_the_first_element() -> None:
    w = torch.zeros(1, 32)
    w[0, 0], w[0, 1] = 6.0, -1.0
    value, _ = to_fp4(w)
    assert value.view(torch.uint8)[0, 0] == 7 | (10 << 4)


@pytest.mark.parametrize(("amax", "expected"), [(448.0, 0), (449.0, 1), (224.0, -1), (0.0, -126)])
def test_scale_is_the_smallest_power_that_fits(amax: float, expected: int) -> None:
    assert int(power_scale(torch.tensor([amax]), 448.0)) == expected


def test_checkpoint_reads_back_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    target, draft = Target(TINY), Draft(TINY)
    total = write_checkpoint(tmp_path, TINY, target.state_dict(), draft.state_dict())
    assert total > 0
    back = read_checkpoint(tmp_path)
    round_module(target)
    round_module(draft)
    expected = target.state_dict() | draft.state_dict()
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[k].to(expected[k].dtype), expected[k]) for k in expected)
    # Rounding is idempotent: the second file equals the first.
    again = tmp_path / "again"
    write_checkpoint(again, TINY, target.state_dict(), draft.state_dict())
    second = read_checkpoint(again)
    assert all(torch.equal(back[k], second[k]) for k in back)
