"""Muon for weight matrices, with AdamW for everything else (Jordan et al., 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Quintic iteration that pushes all singular values towards 1.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(g: Tensor, dtype: torch.dtype, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices of a batch [N, rows, columns], approximately."""
    a, b, c = _COEFFICIENTS
    x: Tensor = (g / (g.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    for _ in range(steps):
        s = torch.bmm(x, x.transpose(1, 2))
        x = a * x + torch.bmm(torch.baddbmm(s, s, s, beta=b, alpha=c), x)
    out: Tensor = x.transpose(1, 2) if tall else x
    return out.to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised per matrix; stacked experts count as separate matrices.

    Updates have a root mean square of about ``0.2`` times the learning rate
    times the usual AdamW step, so one learning-rate scale fits all shapes.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update to all parameters that have gradients."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[tuple(p.shape[-2:])].append(p)
            for (rows, columns), params in by_shape.items():
                pieces = [self._direction(p, group).view(-1, rows, columns) for p in params]
                update = orthogonalise(torch.cat(pieces), self.dtype)
                lr = group["lr"]
                scale = 0.2 * max(rows, columns) ** 0.5
                for p, u in zip(params, update.split([q.shape[0] for q in pieces]), strict=True):
                    p.mul_(1 - lr * group["weight_decay"])
                    p.add_(u.view_as(p), alpha=-lr * scale)

    def _direction(self, p: nn.Parameter, group: dict[str, Any]) -> Tensor:
        """Nesterov momentum of the gradient."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum"]
        assert p.grad is not None
        buffer.lerp_(p.grad, 1 - group["momentum"])
        return p.grad.lerp(buffer, group["momentum"])


_ADAM_NAMES = ("embed.", "head.weight", "gate.weight", "hc_", "markov", "confidence", "ape")


def split_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters for Muon (hidden matrices) and for AdamW (the rest)."""
    muon: list[nn.Parameter] = []
    adam: list[nn.Parameter] = []
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        matrix = p.dim() >= 2 and not any(part in name for part in _ADAM_NAMES)
        (muon if matrix else adam).append(p)
    return muon, adam


def build_optimizers(
    module: nn.Module, muon_lr: float, adam_lr: float, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """The pair of optimisers; each remembers its full rate in ``initial_lr``."""
    muon, adam = split_parameters(module)
    optimizers: list[torch.optim.Optimizer] = []
    if muon:
        optimizers.append(Muon(muon, muon_lr, dtype=dtype))
    optimizers.append(torch.optim.AdamW(adam, adam_lr, betas=(0.9, 0.95), weight_decay=0.0))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to ``factor`` times its full value."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
