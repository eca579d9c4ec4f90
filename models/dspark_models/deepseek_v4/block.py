"""One block: attention and experts, each reading from and writing to the residual streams. Shared with the draft."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dspark_kernels.hyper_connection import HyperConnectionWeights, StreamMix, read_streams, write_streams
from dspark_kernels.rms_norm import rms_norm
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.moe import MixtureOfExperts


def load_hyper_connection(checkpoint: Checkpoint, prefix: str, device: torch.device) -> HyperConnectionWeights:
    """`prefix_fn`, `prefix_base` and `prefix_scale` in float32."""
    return HyperConnectionWeights(
        *(checkpoint.get(f"{prefix}_{part}").to(device).float() for part in ("fn", "base", "scale"))
    )


class ResidualBlock:
    """The frame around a block's two sub-layers: norms and hyper-connections. Attention is handed in at each call."""

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        prefix: str,
        moe: MixtureOfExperts,
        device: torch.device,
    ) -> None:
        self.config = config
        self.moe = moe
        self.attn_norm = checkpoint.get(f"{prefix}.attn_norm.weight").to(device)
        self.ffn_norm = checkpoint.get(f"{prefix}.ffn_norm.weight").to(device)
        self.hc_attn = load_hyper_connection(checkpoint, f"{prefix}.hc_attn", device)
        self.hc_ffn = load_hyper_connection(checkpoint, f"{prefix}.hc_ffn", device)

    def __call__(self, streams: Tensor, token_ids: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """streams [N, S, D] -> [N, S, D]; attend maps the normed input [N, D] to the attention output [N, D]."""
        streams = self._sub_layer(streams, self.hc_attn, self.attn_norm, attend)
        return self._sub_layer(streams, self.hc_ffn, self.ffn_norm, lambda x: self.moe(x, token_ids))

    def attention_input(self, streams: Tensor) -> Tensor:
        """streams [N, S, D] -> what `attend` would be handed, [N, D]: all that a cache row depends on."""
        return self._read(streams, self.hc_attn, self.attn_norm)[0]

    def _sub_layer(
        self, streams: Tensor, weights: HyperConnectionWeights, norm: Tensor, apply: Callable[[Tensor], Tensor]
    ) -> Tensor:
        x, mix = self._read(streams, weights, norm)
        return write_streams(apply(x), streams, mix)

    def _read(self, streams: Tensor, weights: HyperConnectionWeights, norm: Tensor) -> tuple[Tensor, StreamMix]:
        config = self.config
        mixed, mix = read_streams(streams, weights, config.hc_sinkhorn_iters, config.hc_eps, config.rms_norm_eps)
        return rms_norm(mixed, norm, config.rms_norm_eps), mix
