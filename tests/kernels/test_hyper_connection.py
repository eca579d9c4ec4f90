"""Manifold-constrained hyper-connections against a plain float64 loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dspark_kernels.hyper_connection import (
    HyperConnectionWeights,
    collapse_streams,
    read_streams,
    sinkhorn,
    write_streams,
)

EPS = 1e-6


def loop_sinkhorn(logits: list[list[float]], iterations: int) -> list[list[float]]:
    size = range(len(logits))
    c = []
    for row in logits:
        weights = [math.exp(value - max(row)) for value in row]
        c.append([w / sum(weights) + EPS for w in weights])
    for step in range(iterations):
        if step:
            c = [[value / (sum(row) + EPS) for value in row] for row in c]
        columns = [sum(c[j][k] for j in size) for k in size]
        c = [[c[j][k] / (columns[k] + EPS) for k in size] for j in size]
    return c


def weights(streams: int, dim: int, rows: int, scales: int) -> HyperConnectionWeights:
    generator = torch.Generator().manual_seed(streams * dim + rows)
    return HyperConnectionWeights(
        0.3 * torch.randn(rows, streams * dim, generator=generator),
        0.7 * torch.randn(rows, generator=generator),
        0.5 + torch.rand(scales, generator=generator),
    )


def mixing(x: Tensor, fn: Tensor) -> list[float]:
    v = x.flatten().double()
    scale = 1 / math.sqrt(float((v * v).mean()) + EPS)
    return [float(row.double() @ v) * scale for row in fn]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("iterations", [1, 2, 20])
def test_sinkhorn_equals_a_loop_that_ends_with_columns(iterations: int) -> None:
    logits = 2 * torch.randn(9, 4, 4, generator=torch.Generator().manual_seed(0))
    got = sinkhorn(logits, iterations, EPS)
    expected = torch.tensor([loop_sinkhorn(matrix.tolist(), iterations) for matrix in logits], dtype=torch.float64)
    assert torch.allclose(got.double(), expected, atol=1e-6)
    assert torch.allclose(got.sum(-2), torch.ones(9, 4), atol=1e-5)


def test_reading_and_writing_streams_equals_the_definition() -> None:
    streams, dim = 4, 10
    x = torch.randn(5, streams, dim, generator=torch.Generator().manual_seed(1))
    f = torch.randn(5, dim, generator=torch.Generator().manual_seed(2))
    w = weights(streams, dim, 24, 3)
    y, mix = read_streams(x, w, 20, EPS, EPS)
    new = write_streams(f, x, mix)
    for t in range(5):
        m, base, scale = mixing(x[t], w.fn), w.base.tolist(), w.scale.tolist()
        pre = [sigmoid(m[j] * scale[0] + base[j]) + EPS for j in range(4)]
        post = [2 * sigmoid(m[4 + j] * scale[1] + base[4 + j]) for j in range(4)]
        a = [[m[8 + 4 * j + k] * scale[2] + base[8 + 4 * j + k] for k in range(4)] for j in range(4)]
        c = loop_sinkhorn(a, 20)
        expected_y = torch.stack([pre[j] * x[t, j].double() for j in range(4)]).sum(0)
        assert torch.allclose(y[t].double(), expected_y, atol=1e-5)
        for k in range(4):
            kept = torch.stack([c[j][k] * x[t, j].double() for j in range(4)]).sum(0)
            expected = post[k] * f[t].double() + kept
            assert torch.allclose(new[t, k].double(), expected, atol=1e-5)


def test_collapsing_is_a_sum_weighted_by_sigmoids() -> None:
    x = torch.randn(5, 4, 10, generator=torch.Generator().manual_seed(3))
    w = weights(4, 10, 4, 1)
    got = collapse_streams(x, w, EPS, EPS)
    for t in range(5):
        m = mixing(x[t], w.fn)
        share = [sigmoid(m[j] * float(w.scale[0]) + float(w.base[j])) + EPS for j in range(4)]
        expected = torch.stack([share[j] * x[t, j].double() for j in range(4)]).sum(0)
        assert torch.allclose(got[t].double(), expected, atol=1e-5)


def test_streams_keep_their_dtype() -> None:
    x = torch.randn(2, 4, 10).to(torch.bfloat16)
    y, mix = read_streams(x, weights(4, 10, 24, 3), 20, EPS, EPS)
    assert y.dtype == torch.bfloat16
    assert mix.comb.dtype == torch.float32
    assert write_streams(y, x, mix).dtype == torch.bfloat16
