"""Routing: sqrt(softplus) scores, a bias that only selects, weights that add up to the scaling factor."""

from __future__ import annotations

import math

import torch

from dspark_kernels.router import route

HIDDEN, EXPERTS, CHOSEN, SCALING = 12, 9, 3, 2.5


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = 2 * torch.randn(20, HIDDEN, generator=generator)
    return x, torch.randn(EXPERTS, HIDDEN, generator=generator), torch.randn(EXPERTS, generator=generator)


def scores_of(x: torch.Tensor, gate: torch.Tensor) -> list[list[float]]:
    logits = (x.double() @ gate.double().T).tolist()
    return [[math.sqrt(max(v, 0.0) + math.log1p(math.exp(-abs(v)))) for v in row] for row in logits]


def largest(values: list[float]) -> list[int]:
    return sorted(range(EXPERTS), key=values.__getitem__, reverse=True)[:CHOSEN]


def as_dicts(ids: torch.Tensor, weights: torch.Tensor) -> list[dict[int, float]]:
    return [dict(zip(i, w, strict=True)) for i, w in zip(ids.tolist(), weights.tolist(), strict=True)]


def test_the_bias_selects_and_the_bare_scores_weigh() -> None:
    x, gate, bias = inputs()
    ids, weights = route(x, gate, experts_per_token=CHOSEN, scaling=SCALING, bias=bias)
    assert ids.dtype == torch.int64
    assert weights.dtype == torch.float32
    changed = 0
    for row, got in zip(scores_of(x, gate), as_dicts(ids, weights), strict=True):
        ranked = largest([score + float(b) for score, b in zip(row, bias, strict=True)])
        total = sum(row[e] for e in ranked)
        assert set(got) == set(ranked)
        assert all(abs(got[e] - row[e] / total * SCALING) < 1e-5 for e in ranked)
        changed += set(ranked) != set(largest(row))
    assert changed > 5


def test_given_experts_are_weighted_by_their_learned_scores() -> None:
    x, gate, _ = inputs()
    table = torch.stack(
        [torch.randperm(EXPERTS, generator=torch.Generator().manual_seed(t))[:CHOSEN] for t in range(20)]
    )
    ids, weights = route(x, gate, experts_per_token=CHOSEN, scaling=SCALING, chosen=table)
    assert torch.equal(ids, table)
    for row, got in zip(scores_of(x, gate), as_dicts(ids, weights), strict=True):
        total = sum(row[e] for e in got)
        assert all(abs(weight - row[e] / total * SCALING) < 1e-5 for e, weight in got.items())


def test_large_negative_logits_keep_finite_weights() -> None:
    x = torch.full((1, HIDDEN), -4.0)
    ids, weights = route(
        x, torch.ones(EXPERTS, HIDDEN), experts_per_token=CHOSEN, scaling=1.0, bias=torch.zeros(EXPERTS)
    )
    assert len(set(ids[0].tolist())) == CHOSEN
    assert torch.allclose(weights, torch.full((1, CHOSEN), 1 / CHOSEN), atol=1e-4)
