"""Root mean square normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dspark_models.training.fusion import fusible


@fusible
def rms(x: Tensor, eps: float) -> Tensor:
    """``x`` divided by its root mean square over the last dimension."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


class RmsNorm(nn.Module):
    """RMS normalisation with a learnt gain [width]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return nn.functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
