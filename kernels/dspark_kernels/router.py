"""Which experts a token visits, and with which weight. Source: DeepSeek-V4 technical report; sqrt-softplus scores."""

from __future__ import annotations

import torch
from torch import Tensor


def route(
    x: Tensor,
    gate: Tensor,
    *,
    experts_per_token: int,
    scaling: float,
    bias: Tensor | None = None,
    chosen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x [N, D], gate [E, D] -> (expert ids [N, K] int64, weights [N, K] float32).

    With `chosen` [N, K] the experts are given (hash layers) and only weighted here; otherwise they are the K largest
    of score + bias [E]. The bias only selects: weights are the bare scores over their sum, times `scaling`.
    """
    scores = torch.sqrt(torch.nn.functional.softplus(x.float() @ gate.float().t()))
    if chosen is None:
        ranked = scores if bias is None else scores + bias
        chosen = ranked.topk(experts_per_token, dim=-1).indices
    picked = scores.gather(-1, chosen)
    return chosen, picked / picked.sum(-1, keepdim=True) * scaling
