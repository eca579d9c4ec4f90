"""FP8, FP4 and power-of-two scales against tables written down apart from the kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dspark_kernels.fp4 import (
    dequantize_fp4,
    encode_e2m1,
    encode_groups_e2m1,
    pack_e2m1,
    unpack_e2m1,
)
from dspark_kernels.fp8 import (
    decode_groups_e4m3,
    dequantize_fp8,
    encode_groups_e4m3,
    fake_quantize_activation,
    quantize_fp8,
)
from dspark_kernels.ue8m0 import ceil_power_of_two, decode_ue8m0, encode_ue8m0
from tests.models.formats import (
    E2M1_TABLE,
    E4M3_TABLE,
    dequantize_fp4_rows,
    dequantize_fp8_blocks,
    pack_nibbles,
    quantize_fp4_rows,
    quantize_fp8_blocks,
    round_e2m1,
    round_e4m3,
    round_groups_e2m1,
    round_groups_e4m3,
    unpack_nibbles,
)

RANDOM = np.random.default_rng(11)


def spread(*shape: int) -> np.ndarray:
    """Values over many orders of magnitude, as float32 holds them."""
    values = RANDOM.standard_normal(shape) * 2.0 ** RANDOM.integers(-12, 8, size=shape)
    return values.astype(np.float32).astype(np.float64)


def test_all_e4m3_codes_decode_to_the_format_table() -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    decoded = dequantize_fp8(
        codes.view(torch.float8_e4m3fn)[None], torch.full((1, 2), 127, dtype=torch.uint8), torch.float64
    )
    assert np.array_equal(decoded[0].numpy(), E4M3_TABLE, equal_nan=True)


def test_all_scale_bytes_decode_to_powers_of_two_and_back() -> None:
    scale = torch.arange(255, dtype=torch.uint8)
    expected = 2.0 ** (np.arange(255.0) - 127)
    for stored in (scale, scale.view(torch.float8_e8m0fnu)):
        assert np.array_equal(decode_ue8m0(stored).double().numpy(), expected)
    assert torch.equal(encode_ue8m0(torch.arange(-127, 128, dtype=torch.int32)), scale)
    assert torch.isnan(decode_ue8m0(torch.tensor([255], dtype=torch.uint8))).all()


def test_float32_scales_are_taken_as_they_are() -> None:
    scale = torch.tensor([0.3, 1.7])
    assert torch.equal(decode_ue8m0(scale), scale)


@pytest.mark.parametrize("largest", [448.0, 6.0])
def test_scale_exponents_are_exact_beside_powers_of_two(largest: float) -> None:
    for exponent in range(-20, 20):
        power = np.float32(largest * 2.0**exponent)
        above = np.nextafter(power, np.float32(np.inf)) * np.float32(1 + 2e-7)
        got = ceil_power_of_two(torch.tensor([power, above, power * np.float32(0.75)]), largest)
        assert got.tolist() == [exponent, exponent + 1, exponent]


def test_fp4_packs_the_even_element_into_the_low_nibble() -> None:
    packed = pack_e2m1(torch.tensor([[0.5, -6.0, 3.0, -0.5]]))
    assert packed.tolist() == [[0xF1, 0x95]]
    assert unpack_e2m1(packed).tolist() == [[0.5, -6.0, 3.0, -0.5]]


def test_all_fp4_bytes_decode_to_the_format_table() -> None:
    every = np.arange(256, dtype=np.uint8)
    expected = E2M1_TABLE[unpack_nibbles(every[None])]
    for dtype in (torch.uint8, torch.int8):
        assert np.array_equal(unpack_e2m1(torch.from_numpy(every[None]).view(dtype)).double().numpy(), expected)


def test_fp4_rounds_to_the_nearest_with_ties_to_the_even_code() -> None:
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 0.2500001, 0.7499999, 5.0000005, 7.0, 100.0, 0.0])
    values = np.concatenate([ties, -ties])
    codes = encode_e2m1(torch.from_numpy(values).float())
    got = E2M1_TABLE[codes.numpy()]
    assert got[:7].tolist() == [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    assert got[7:13].tolist() == [0.5, 0.5, 6.0, 6.0, 6.0, 0.0]
    assert np.array_equal(got, round_e2m1(values.astype(np.float32).astype(np.float64)))


def test_activation_rounding_is_nearest_even_on_the_e4m3_grid() -> None:
    halfway = np.array([17.0, 19.0, 1.0625, 1.1875, 2.0**-10, 3 * 2.0**-10, 464.0, 1000.0])
    assert round_e4m3(halfway).tolist() == [16.0, 20.0, 1.0, 1.25, 0.0, 2 * 2.0**-9, 448.0, 448.0]
    codes, scale = encode_groups_e4m3(torch.tensor([[448.0, *halfway[:6], *[0.0] * 57]]), 64)
    assert scale.tolist() == [[127]]
    assert decode_groups_e4m3(codes, scale, 64)[0, 1:7].tolist() == round_e4m3(halfway[:6]).tolist()


@pytest.mark.parametrize("group", [64, 128])
def test_grouped_e4m3_agrees_with_the_release_rule(group: int) -> None:
    values = spread(50, 3 * group)
    values[0] = 0.0
    values[1] = 1e-6  # below the floor of 1e-4
    codes, scale = encode_groups_e4m3(torch.from_numpy(values).float(), group)
    decoded = decode_groups_e4m3(codes, scale, group).double().numpy()
    assert np.array_equal(decoded, round_groups_e4m3(values, group))
    assert scale.shape == (50, 3)


def test_the_amax_floor_sets_the_smallest_activation_scale() -> None:
    _, scale = encode_groups_e4m3(torch.zeros(1, 64), 64)
    assert float(decode_ue8m0(scale)) == 2.0**-22  # the power of two above 1e-4 / 448


@pytest.mark.parametrize("width", [128, 96, 160, 300, 1])
def test_activations_are_rounded_in_groups_of_128(width: int) -> None:
    values = spread(40, width)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.from_numpy(values).to(dtype)
        rounded = fake_quantize_activation(x)
        assert rounded.dtype == dtype
        expected = torch.from_numpy(round_groups_e4m3(x.double().numpy(), 128)).to(dtype)
        assert torch.equal(rounded, expected)


def test_grouped_fp4_agrees_with_the_release_rule() -> None:
    values = spread(50, 128)
    values[0] = 0.0
    packed, scale = encode_groups_e2m1(torch.from_numpy(values).float())
    assert packed.shape == (50, 64)
    assert scale.shape == (50, 4)
    assert np.array_equal(dequantize_fp4(packed, scale).double().numpy(), round_groups_e2m1(values))


@pytest.mark.parametrize("shape", [(128, 128), (160, 96), (1, 300), (257, 129), (40, 1)])
def test_fp8_weights_of_any_shape_dequantise_by_block(shape: tuple[int, int]) -> None:
    weight = spread(*shape)
    codes, scales = quantize_fp8_blocks(weight)
    expected = dequantize_fp8_blocks(codes, scales)
    stored = torch.from_numpy(codes).view(torch.float8_e4m3fn)
    for scale in (torch.from_numpy(scales), torch.from_numpy(scales).view(torch.float8_e8m0fnu)):
        assert np.array_equal(dequantize_fp8(stored, scale, torch.float32).double().numpy(), expected)
    own_codes, own_scales = quantize_fp8(torch.from_numpy(weight).float())
    assert np.array_equal(own_scales.view(torch.uint8).numpy(), scales)
    assert np.array_equal(dequantize_fp8(own_codes, own_scales, torch.float32).double().numpy(), expected)


@pytest.mark.parametrize("shape", [(96, 160), (1, 32), (33, 64)])
def test_fp8_and_fp4_linears_equal_dequantise_and_multiply_in_float64(shape: tuple[int, int]) -> None:
    weight, x = spread(*shape), RANDOM.standard_normal((7, shape[1]))
    codes, scales = quantize_fp8_blocks(weight)
    fp8 = dequantize_fp8(torch.from_numpy(codes).view(torch.float8_e4m3fn), torch.from_numpy(scales), torch.float32)
    packed, row_scales = quantize_fp4_rows(weight)
    fp4 = dequantize_fp4(torch.from_numpy(packed).view(torch.int8), torch.from_numpy(row_scales))
    narrow = torch.from_numpy(x).float()
    for dense, expected in (
        (fp8, dequantize_fp8_blocks(codes, scales)),
        (fp4, dequantize_fp4_rows(packed, row_scales)),
    ):
        exact = narrow.double().numpy() @ expected.T
        assert np.abs((narrow @ dense.T).double().numpy() - exact).max() < 1e-5 * np.abs(exact).max()


def test_a_planted_nibble_order_or_scale_is_not_mistaken_for_the_right_one() -> None:
    packed, scales = quantize_fp4_rows(spread(16, 64))
    expected = dequantize_fp4_rows(packed, scales)
    swapped = (packed << 4) | (packed >> 4)
    good = dequantize_fp4(torch.from_numpy(packed), torch.from_numpy(scales)).double().numpy()
    wrong_order = dequantize_fp4(torch.from_numpy(swapped), torch.from_numpy(scales)).double().numpy()
    wrong_scale = dequantize_fp4(torch.from_numpy(packed), torch.from_numpy(scales[:, ::-1].copy())).double().numpy()
    assert np.array_equal(good, expected)
    assert not np.allclose(wrong_order, expected)
    assert not np.allclose(wrong_scale, expected)
    assert np.array_equal(pack_nibbles(unpack_nibbles(packed)), packed)


def test_scales_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError):
        dequantize_fp4(torch.zeros(4, 16, dtype=torch.uint8), torch.zeros(4, 2, dtype=torch.uint8))
    with pytest.raises(ValueError):
        dequantize_fp8(torch.zeros(130, 4).to(torch.float8_e4m3fn), torch.zeros(1, 1, dtype=torch.uint8), torch.float32)
