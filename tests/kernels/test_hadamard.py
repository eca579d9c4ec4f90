"""The rotation of index queries and keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dspark_kernels.hadamard import hadamard_rotate
from tests.models.formats import hadamard


@pytest.mark.parametrize("size", [1, 2, 32, 128])
def test_rotation_matrix_is_sylvesters(size: int) -> None:
    matrix = hadamard_rotate(torch.eye(size)).double().numpy()
    assert np.allclose(matrix, hadamard(size), atol=1e-7)


def test_rotation_is_its_own_inverse_and_keeps_products() -> None:
    x, y = torch.randn(2, 50, 128, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(hadamard_rotate(hadamard_rotate(x)), x, atol=1e-5)
    assert torch.allclose((hadamard_rotate(x) * hadamard_rotate(y)).sum(-1), (x * y).sum(-1), atol=1e-4)


def test_a_size_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError):
        hadamard_rotate(torch.zeros(2, 96))
