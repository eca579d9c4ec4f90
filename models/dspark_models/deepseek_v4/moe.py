"""The mixture of experts of one block: a shared one, and routed ones grouped so that each is fetched once a pass."""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.expert_ffn import expert_ffn
from dspark_kernels.router import route
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.experts import ExpertStore
from dspark_models.numerics import Numerics
from dspark_models.weights import ExpandedCache, Matrix


class MixtureOfExperts:
    """Router, shared expert and the store of routed experts of one block (`layers.N` or `mtp.N`)."""

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        block: str,
        store: ExpertStore,
        numerics: Numerics,
        device: torch.device,
        cache: ExpandedCache,
    ) -> None:
        prefix = f"{block}.ffn"
        self.config = config
        self.block = block
        self.store = store
        self.numerics = numerics
        self.gate = checkpoint.get(f"{prefix}.gate.weight").to(device)
        table = f"{prefix}.gate.tid2eid"
        self.experts_of_token = checkpoint.get(table).to(device) if table in checkpoint.tensors else None
        bias = f"{prefix}.gate.bias"
        self.bias = checkpoint.get(bias).to(device).float() if bias in checkpoint.tensors else None
        self.shared = tuple(
            Matrix.load(checkpoint, f"{prefix}.shared_experts.{part}", device, cache) for part in ("w1", "w3", "w2")
        )

    def __call__(self, x: Tensor, token_ids: Tensor) -> Tensor:
        """x [N, D], normed, token_ids [N] -> [N, D] in the dtype of x; the routed sum is float32."""
        config = self.config
        chosen = None if self.experts_of_token is None else self.experts_of_token[token_ids].long()
        ids, weights = route(
            x,
            self.gate,
            experts_per_token=config.num_experts_per_tok,
            scaling=config.routed_scaling_factor,
            bias=self.bias,
            chosen=chosen,
        )
        quantized = self.numerics.quantize_activation(x)
        total = expert_ffn(
            quantized,
            *(matrix.expand(x.dtype) for matrix in self.shared),
            limit=config.swiglu_limit,
            quantize=self.numerics.quantize_activation,
        )
        # Ascending expert order: a row's sum does not depend on which other rows are in the pass.
        for expert in ids.unique().tolist():
            rows, slots = torch.where(ids == expert)
            w1, w3, w2 = self.store.fetch(self.block, expert)
            part = expert_ffn(
                quantized[rows],
                w1.expand(x.dtype),
                w3.expand(x.dtype),
                w2.expand(x.dtype),
                limit=config.swiglu_limit,
                routing_weight=weights[rows, slots],
                quantize=self.numerics.quantize_activation,
            )
            total.index_add_(0, rows, part)
        return total.to(x.dtype)
