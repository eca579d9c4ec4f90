"""Rotary positions: interleaved pairs at the end of the vector, YaRN without an attention factor."""

from __future__ import annotations

import math

import pytest
import torch

from dspark_kernels.rope import YarnScaling, rope_frequencies, rotate, rotation_at

YARN = YarnScaling(factor=16, original_context=65536, beta_fast=32, beta_slow=1)


def test_yarn_of_flash_ramps_from_15_to_25() -> None:
    plain = rope_frequencies(64, 160000.0, None).double()
    scaled = rope_frequencies(64, 160000.0, YARN).double()
    share = (1 - scaled / plain) / (1 - 1 / 16)
    expected = [min(max((i - 15) / 10, 0.0), 1.0) for i in range(32)]
    assert torch.allclose(share, torch.tensor(expected, dtype=torch.float64), atol=1e-5)


def test_plain_frequencies_are_powers_of_the_base() -> None:
    expected = torch.tensor([10000.0 ** (-2 * i / 64) for i in range(32)], dtype=torch.float64)
    assert torch.allclose(rope_frequencies(64, 10000.0, None).double(), expected, rtol=1e-5)


@pytest.mark.parametrize("heads", [None, 3])
def test_rotation_turns_neighbouring_pairs_of_the_last_dimensions(heads: int | None) -> None:
    positions = torch.tensor([0, 1, 7, 4000])
    frequencies = rope_frequencies(16, 10000.0, None)
    shape = (4, 40) if heads is None else (4, heads, 40)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    turned = rotate(x, rotation_at(positions, frequencies))
    assert torch.equal(turned[..., :24], x[..., :24])
    assert torch.equal(turned[0], x[0])
    for t, position in enumerate(positions.tolist()):
        for i in range(8):
            angle = position * 10000.0 ** (-2 * i / 16)
            a, b = x[t, ..., 24 + 2 * i], x[t, ..., 25 + 2 * i]
            assert torch.allclose(turned[t, ..., 24 + 2 * i], a * math.cos(angle) - b * math.sin(angle), atol=2e-3)
            assert torch.allclose(turned[t, ..., 25 + 2 * i], a * math.sin(angle) + b * math.cos(angle), atol=2e-3)


def test_the_inverse_turns_back_at_the_same_position() -> None:
    rotation = rotation_at(torch.arange(100, 110), rope_frequencies(64, 160000.0, YARN))
    x = torch.randn(10, 5, 128, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(rotate(rotate(x, rotation), rotation, inverse=True), x, atol=1e-5)
    assert rotate(x.to(torch.bfloat16), rotation).dtype == torch.bfloat16


def test_angles_stay_accurate_at_the_far_end_of_the_context() -> None:
    """A float32 product of position and frequency is off by up to 2^-5 rad at a million; more would be an error."""
    frequencies = rope_frequencies(64, 160000.0, YARN)
    rotation = rotation_at(torch.tensor([1_048_575]), frequencies)
    exact = 1_048_575 * frequencies.double()
    assert torch.allclose(rotation.cos.double()[0], exact.cos(), atol=0.04)
    assert torch.allclose(rotation.sin.double()[0], exact.sin(), atol=0.04)
