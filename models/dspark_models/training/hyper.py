"""Manifold-constrained hyper-connections: four residual streams per token.

State tensors are [tokens, streams, width].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dspark_models.training.fusion import fusible


class Sinkhorn(torch.autograd.Function):
    """Alternating column and row normalisation of positive 4x4 matrices.

    Input and output are [streams, streams, tokens] (tokens last, so that every
    elementary step runs over contiguous memory). One column pass, then
    ``iters - 1`` pairs of row and column passes; each divides by sum + eps. The
    gradient is exact: y = x / (sum x + eps) has dx = (dy - sum(dy * y)) / (sum x + eps).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, iters: int, eps: float) -> Tensor:
        """Run all passes and keep their results for the backward pass."""
        results: list[Tensor] = []
        sums: list[Tensor] = []
        for axis in _axes(iters):
            total = x.sum(axis, keepdim=True).add_(eps)
            x = x / total
            results.append(x)
            sums.append(total)
        # An output kept as a plain attribute would be a reference cycle through its own graph and never be freed.
        ctx.save_for_backward(*results, *sums)
        ctx.iters = iters
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Propagate through the passes in reverse."""
        axes, saved = _axes(ctx.iters), ctx.saved_tensors
        results, sums = saved[: len(axes)], saved[len(axes) :]
        for axis, y, total in zip(reversed(axes), reversed(results), reversed(sums), strict=True):
            grad = (grad - (grad * y).sum(axis, keepdim=True)).div_(total)
        return grad, None, None


def _axes(iters: int) -> list[int]:
    """Axis summed over in each pass: 0 is a column pass, 1 a row pass."""
    return [0] + [1, 0] * (iters - 1)


class HyperMix(nn.Module):
    """Mixing weights of one sub-layer: reads the streams, later writes them back."""

    def __init__(self, width: int, streams: int, iters: int, eps: float, norm_eps: float) -> None:
        super().__init__()
        n = streams
        self.streams, self.iters, self.eps, self.norm_eps = n, iters, eps, norm_eps
        self.fn = nn.Parameter(torch.randn(n * (n + 2), n * width) * 0.02)
        self.base = nn.Parameter(torch.zeros(n * (n + 2)))
        self.scale = nn.Parameter(torch.full((3,), 0.3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Streams [T, n, D] to (input [T, D], post [T, n], comb [T, n, n])."""
        n = self.streams
        flat = x.flatten(1)
        inv = inverse_rms(flat, self.norm_eps)
        m = (self.fn @ flat.t()).float() * inv
        pre = torch.sigmoid(m[:n] * self.scale[0] + self.base[:n, None]) + self.eps
        post = 2 * torch.sigmoid(m[n : 2 * n] * self.scale[1] + self.base[n : 2 * n, None])
        a = m[2 * n :] * self.scale[2] + self.base[2 * n :, None]
        c = torch.softmax(a.view(n, n, -1), dim=1) + self.eps
        comb: Tensor = Sinkhorn.apply(c, self.iters, self.eps)  # type: ignore[no-untyped-call]
        return read(x, pre.t()), post.t(), comb.permute(2, 0, 1)


@fusible
def inverse_rms(flat: Tensor, eps: float) -> Tensor:
    """Reciprocal root mean square of each row, [T, N] to [T]."""
    return torch.rsqrt(flat.square().mean(1) + eps)


@fusible
def read(x: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the streams: [T, n, D] and [T, n] to [T, D]."""
    return (weights.unsqueeze(2) * x).sum(1)


@fusible
def write_back(f: Tensor, x: Tensor, post: Tensor, comb: Tensor) -> Tensor:
    """New streams: post_k * f + sum_j comb[j, k] * x_j (the transpose of comb)."""
    streams = []
    for k in range(x.shape[1]):
        new = post[:, k, None] * f
        for j in range(x.shape[1]):
            new = new + comb[:, j, k, None] * x[:, j]
        streams.append(new)
    return torch.stack(streams, 1)


class HyperCollapse(nn.Module):
    """Weighted sum of the streams at the end of a model or draft."""

    def __init__(self, width: int, streams: int, eps: float, norm_eps: float) -> None:
        super().__init__()
        self.eps, self.norm_eps = eps, norm_eps
        self.fn = nn.Parameter(torch.randn(streams, streams * width) * 0.02)
        self.base = nn.Parameter(torch.zeros(streams))
        self.scale = nn.Parameter(torch.full((1,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Streams [T, n, D] to [T, D]; a sigmoid sum, not a softmax."""
        flat = x.flatten(1)
        inv = inverse_rms(flat, self.norm_eps)
        m = (self.fn @ flat.t()).float() * inv
        w = torch.sigmoid(m * self.scale[0] + self.base[:, None]) + self.eps
        return read(x, w.t())
