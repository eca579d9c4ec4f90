"""Sparse attention with sinks, index scores, group pooling, RMS norm and the clamped SwiGLU, against float64 loops."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dspark_kernels.compressor import pool_groups, pool_overlapping_groups
from dspark_kernels.expert_ffn import clamped_swiglu, expert_ffn
from dspark_kernels.index_scores import index_scores
from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.sparse_attention import sparse_attention


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_sinks_enlarge_the_denominator_only() -> None:
    queries, keys, sinks = normal(4, 3, 8), normal(4, 6, 8, seed=1), 2 * normal(3, seed=2)
    valid = normal(4, 6, seed=3) > -0.5
    got = sparse_attention(queries, keys, valid, sinks, 8**-0.5)
    for t in range(4):
        for h in range(3):
            weight = [
                math.exp(float(queries[t, h].double() @ keys[t, n].double()) * 8**-0.5) if valid[t, n] else 0.0
                for n in range(6)
            ]
            total = sum(weight) + math.exp(float(sinks[h]))
            expected = torch.stack([weight[n] * keys[t, n].double() for n in range(6)]).sum(0) / total
            assert torch.allclose(got[t, h].double(), expected, atol=1e-6)


def test_extreme_sinks_and_empty_rows_stay_finite() -> None:
    queries, keys = 50 * normal(2, 2, 8), 50 * normal(2, 5, 8, seed=1)
    valid = torch.tensor([[True] * 5, [False] * 5])
    got = sparse_attention(queries, keys, valid, torch.tensor([300.0, -300.0]), 1.0)
    assert torch.isfinite(got).all()
    assert torch.equal(got[1], torch.zeros(2, 8))


def test_masked_keys_have_no_influence_whatever_they_hold() -> None:
    queries, keys, sinks = normal(3, 2, 8), normal(3, 5, 8, seed=1), normal(2, seed=2)
    valid = torch.tensor([[True, False, True, False, True]] * 3)
    poisoned = keys.clone()
    poisoned[:, [1, 3]] = 1e30
    assert torch.equal(
        sparse_attention(queries, keys, valid, sinks, 1.0), sparse_attention(queries, poisoned, valid, sinks, 1.0)
    )


def test_index_scores_take_the_relu_before_the_head_weight() -> None:
    queries, keys, head_weights = normal(3, 4, 8), normal(5, 8, seed=1), normal(3, 4, seed=2)
    got = index_scores(queries, keys, head_weights)
    for t in range(3):
        for n in range(5):
            expected = sum(
                float(head_weights[t, h]) * max(0.0, float(queries[t, h].double() @ keys[n].double())) for h in range(4)
            )
            assert abs(float(got[t, n]) - expected) < 1e-5


def test_pooling_is_a_softmax_in_each_channel() -> None:
    values, scores = normal(3, 16, 6), 2 * normal(3, 16, 6, seed=1)
    got = pool_groups(values, scores)
    for g in range(3):
        for c in range(6):
            weight = [math.exp(float(s)) for s in scores[g, :, c]]
            expected = sum(w * float(v) for w, v in zip(weight, values[g, :, c], strict=True)) / sum(weight)
            assert abs(float(got[g, c]) - expected) < 1e-5


def test_overlapping_pooling_takes_first_channels_from_the_group_before() -> None:
    values, scores = normal(4, 4, 12), 2 * normal(4, 4, 12, seed=1)
    for first_is_start in (True, False):
        got = pool_overlapping_groups(values, scores, first_is_start=first_is_start)
        for g in range(3):
            alone = first_is_start and g == 0
            for c in range(6):
                candidates = [(float(scores[g + 1, t, 6 + c]), float(values[g + 1, t, 6 + c])) for t in range(4)]
                if not alone:
                    candidates += [(float(scores[g, t, c]), float(values[g, t, c])) for t in range(4)]
                total = sum(math.exp(s) for s, _ in candidates)
                expected = sum(math.exp(s) * v for s, v in candidates) / total
                assert abs(float(got[g, c]) - expected) < 1e-5


def test_pooling_the_first_group_ignores_whatever_stands_before_it() -> None:
    values, scores = normal(2, 4, 12), normal(2, 4, 12, seed=1)
    clean = pool_overlapping_groups(values, scores, first_is_start=True)
    values[0], scores[0] = torch.nan, torch.nan
    assert torch.equal(pool_overlapping_groups(values, scores, first_is_start=True), clean)


def test_rms_norm_with_and_without_weight() -> None:
    x, weight = 3 * normal(5, 10), normal(10, seed=1)
    wide = x.double()
    expected = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(rms_norm(x, None, 1e-6).double(), expected, atol=1e-6)
    assert torch.allclose(rms_norm(x, weight, 1e-6).double(), expected * weight.double(), atol=1e-6)
    assert rms_norm(x.to(torch.bfloat16), weight, 1e-6).dtype == torch.bfloat16


def test_the_gate_is_clamped_from_above_only_and_the_up_part_on_both_sides() -> None:
    gate, up = torch.tensor([20.0, -20.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 20.0, -20.0])
    got = clamped_swiglu(gate, up, 10.0).double().tolist()
    silu = [g / (1 + math.exp(-g)) for g in (10.0, -20.0, 1.0, 1.0)]
    expected = [silu[0], silu[1], silu[2] * 10, silu[3] * -10]
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(got, expected, strict=True))


def test_the_routing_weight_is_applied_before_the_rounding_in_front_of_w2() -> None:
    x, w1, w3, w2 = normal(3, 8), normal(6, 8, seed=1), normal(6, 8, seed=2), normal(8, 6, seed=3)
    weight = torch.tensor([0.5, 1.0, 2.0])
    seen: list[Tensor] = []

    def quantize(hidden: Tensor) -> Tensor:
        seen.append(hidden)
        return hidden.round()

    got = expert_ffn(x, w1, w3, w2, limit=0.5, routing_weight=weight, quantize=quantize)
    a = (x.double() @ w1.double().T).clamp(max=0.5)
    b = (x.double() @ w3.double().T).clamp(-0.5, 0.5)
    hidden = a * torch.sigmoid(a) * b * weight.double()[:, None]
    assert torch.allclose(seen[0].double(), hidden, atol=1e-5)
    assert torch.allclose(got.double(), hidden.round() @ w2.double().T, atol=1e-5)
    assert got.dtype == torch.float32
