"""Mixture of experts with hash or score routing, grouped by expert."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dspark_models.training.fusion import fusible
from dspark_models.training.shape import Shape

CAPACITY_STEP = 64


@fusible
def clamped_swiglu(gate: Tensor, up: Tensor, limit: float) -> Tensor:
    """silu(min(gate, limit)) * clamp(up, -limit, limit)."""
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)


class Shared(nn.Module):
    """The expert that every token uses."""

    def __init__(self, width: int, inner: int, limit: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, inner, bias=False)
        self.w3 = nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        """[T, D] to [T, D]."""
        out: Tensor = self.w2(clamped_swiglu(self.w1(x), self.w3(x), self.limit))
        return out


class Gate(nn.Module):
    """Router: sqrt(softplus) scores; the bias only steers the selection."""

    tid2eid: Tensor
    bias: Tensor
    load: Tensor

    def __init__(self, shape: Shape, hashed: bool) -> None:
        super().__init__()
        self.count, self.hashed = shape.num_experts_per_tok, hashed
        self.scaling = shape.routed_scaling_factor
        e = shape.n_routed_experts
        self.weight = nn.Parameter(torch.randn(e, shape.hidden_size) * shape.hidden_size**-0.5)
        if hashed:
            order = torch.rand(shape.vocab_size, e).argsort(1)
            self.register_buffer("tid2eid", order[:, : self.count].contiguous())
        else:
            self.register_buffer("bias", torch.zeros(e))
        self.register_buffer("load", torch.zeros(e), persistent=False)

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [T, D] and their token ids [T] to (experts [T, K], weights [T, K])."""
        with torch.autocast(x.device.type, enabled=False):
            score = F.softplus(F.linear(x.float(), self.weight)).sqrt()
        chosen = self.tid2eid[ids] if self.hashed else (score.detach() + self.bias).topk(self.count, dim=-1).indices
        if self.training:
            self.load += torch.bincount(chosen.flatten(), minlength=self.load.numel())
        picked = score.gather(1, chosen)
        return chosen, picked / picked.sum(-1, keepdim=True) * self.scaling

    @torch.no_grad()
    def balance(self, step: float) -> None:
        """Move the selection bias of over- and underloaded experts by ``step``."""
        if not self.hashed:
            self.bias += step * torch.sign(self.load.mean() - self.load)
        self.load.zero_()


class Experts(nn.Module):
    """Routed experts, stacked: w1 and w3 [E, I, D], w2 [E, D, I]."""

    def __init__(self, count: int, width: int, inner: int, limit: float) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(count, inner, width) * width**-0.5)
        self.w3 = nn.Parameter(torch.randn(count, inner, width) * width**-0.5)
        self.w2 = nn.Parameter(torch.randn(count, width, inner) * (0.5 * inner**-0.5))
        self.limit = limit

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Sum of the chosen experts, [T, D].

        Rows are laid out as [E, capacity, D] with zero rows behind the last
        one of each expert, so that every projection is one batched product:
        hundreds of small products of ever new sizes cost several times more.
        """
        t, k = chosen.shape
        e = self.w1.shape[0]
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        sizes = torch.bincount(flat, minlength=e)
        capacity = -(-int(sizes.max()) // CAPACITY_STEP) * CAPACITY_STEP
        within = torch.arange(t * k, device=x.device) - (sizes.cumsum(0) - sizes)[flat[order]]
        place = torch.empty_like(order)
        place[order] = flat[order] * capacity + within
        source = torch.full((e * capacity,), t, device=x.device)
        source[place] = torch.arange(t * k, device=x.device) // k
        rows = torch.cat((x, x.new_zeros(1, x.shape[1])))
        rows = rows.index_select(0, source).view(e, capacity, -1)
        gate = torch.bmm(rows, self.w1.transpose(1, 2))
        up = torch.bmm(rows, self.w3.transpose(1, 2))
        h = torch.bmm(clamped_swiglu(gate, up, self.limit), self.w2.transpose(1, 2))
        picked = h.view(e * capacity, -1).index_select(0, place.flatten()).view(t, k, -1)
        return (picked * weights.unsqueeze(-1).to(picked.dtype)).sum(1)


class Moe(nn.Module):
    """Router, routed experts and the shared expert."""

    def __init__(self, shape: Shape, hashed: bool) -> None:
        super().__init__()
        d, i, limit = shape.hidden_size, shape.moe_intermediate_size, shape.swiglu_limit
        self.gate = Gate(shape, hashed)
        self.experts = Experts(shape.n_routed_experts, d, i, limit)
        self.shared_experts = Shared(d, i, limit)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """[T, D] to [T, D]; ``ids`` [T] are needed by hash layers."""
        chosen, weights = self.gate(x, ids)
        out: Tensor = self.experts(x, chosen, weights) + self.shared_experts(x)
        return out
