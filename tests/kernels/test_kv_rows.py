"""Latent rows and index keys in the storage formats of the release."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dspark_kernels.kv_rows import (
    index_row_bytes,
    kv_row_bytes,
    pack_index_rows,
    pack_kv_rows,
    unpack_index_rows,
    unpack_kv_rows,
)
from tests.models.formats import round_groups_e2m1, round_groups_e4m3


def test_rows_of_the_release_take_584_and_68_bytes() -> None:
    assert kv_row_bytes(512, 64) == 584
    assert index_row_bytes(128) == 68
    assert pack_kv_rows(torch.zeros(3, 2, 512), 64).shape == (3, 2, 584)
    assert pack_index_rows(torch.zeros(3, 128)).shape == (3, 68)


@pytest.mark.parametrize(("head_dim", "rope_dim"), [(512, 64), (128, 64), (192, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_rows_hold_fp8_outside_and_bfloat16_inside_the_rope_part(
    head_dim: int, rope_dim: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(head_dim)
    rows = (torch.randn(20, head_dim, generator=generator) * 3).to(dtype)
    packed = pack_kv_rows(rows, rope_dim)
    back = unpack_kv_rows(packed, head_dim, rope_dim, torch.float32).double()
    nope = head_dim - rope_dim
    assert packed.dtype == torch.uint8
    expected = round_groups_e4m3(rows[:, :nope].double().numpy(), 64)
    assert np.array_equal(back[:, :nope].numpy(), expected)
    assert torch.equal(back[:, nope:], rows[:, nope:].to(torch.bfloat16).double())
    assert unpack_kv_rows(packed, head_dim, rope_dim, dtype).dtype == dtype


def test_packing_a_packed_row_again_changes_nothing() -> None:
    rows = torch.randn(20, 512, generator=torch.Generator().manual_seed(1))
    once = unpack_kv_rows(pack_kv_rows(rows, 64), 512, 64, torch.float32)
    assert torch.equal(unpack_kv_rows(pack_kv_rows(once, 64), 512, 64, torch.float32), once)


def test_packed_index_keys_hold_fp4_in_groups_of_32() -> None:
    keys = torch.randn(20, 128, generator=torch.Generator().manual_seed(2)) * 5
    back = unpack_index_rows(pack_index_rows(keys), 128).double().numpy()
    assert np.array_equal(back, round_groups_e2m1(keys.double().numpy()))


def test_dimensions_that_the_formats_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError):
        kv_row_bytes(64, 16)
    with pytest.raises(ValueError):
        index_row_bytes(48)
