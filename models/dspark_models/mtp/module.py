"""V4's plain MTP module: one window-only block that reads the target's last streams and the token that came next.

Row p stands for the streams after the target's last layer at position p together with token p + 1, and predicts token
p + 2. A cached row depends on these two alone, so taking in text needs projections only. Source: DeepSeek-V4 technical
report; tensor layout of the preview's `mtp.0`.

Names: N rows, S residual streams, D hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspark_kernels.hyper_connection import collapse_streams
from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.rope import Rotation, rotation_at
from dspark_kernels.sparse_attention import sparse_attention
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.block import ResidualBlock, load_hyper_connection
from dspark_models.deepseek_v4.cache import KVFormat
from dspark_models.deepseek_v4.moe import MixtureOfExperts
from dspark_models.deepseek_v4.projections import AttentionProjections
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.experts import ExpertStore
from dspark_models.weights import Matrix

PREFIX = "mtp.0"


@dataclass(slots=True)
class Window:
    """The stored rows [n, row] that the next row of one draft sees, n up to the window's size, its own included."""

    rows: Tensor


class MtpModule:
    """Weights of `mtp.0`, and what they compute; embedding, output head and numerics are the target's."""

    def __init__(self, checkpoint: Checkpoint, target: DeepseekV4Target, store: ExpertStore) -> None:
        config, device, numerics, expanded = target.config, target.torch_device, target.arithmetic, target.expanded
        self.target = target
        self.config = config
        self.numerics = numerics
        self.row_format = KVFormat(config.head_dim, config.qk_rope_head_dim, numerics)
        self.projections = AttentionProjections(config, checkpoint, f"{PREFIX}.attn", numerics, device, expanded)
        moe = MixtureOfExperts(config, checkpoint, PREFIX, store, numerics, device, expanded)
        self.block = ResidualBlock(config, checkpoint, PREFIX, moe, device)
        self.e_proj, self.h_proj = (
            Matrix.load(checkpoint, f"{PREFIX}.{name}", device, expanded) for name in ("e_proj", "h_proj")
        )
        self.enorm, self.hnorm, self.norm = (
            checkpoint.get(f"{PREFIX}.{name}.weight").to(device) for name in ("enorm", "hnorm", "norm")
        )
        self.hc_head = load_hyper_connection(checkpoint, f"{PREFIX}.hc_head", device)

    def join(self, states: Tensor, embedded: Tensor) -> Tensor:
        """states [N, S, D] and the embeddings [N, D] of the tokens after them -> the block's input [N, S, D]."""
        return self._project(self.e_proj, embedded, self.enorm)[:, None] + self._project(
            self.h_proj, states, self.hnorm
        )

    def _project(self, matrix: Matrix, x: Tensor, norm: Tensor) -> Tensor:
        return matrix(self.numerics.quantize_activation(rms_norm(x, norm, self.config.rms_norm_eps)))

    def context_rows(self, streams: Tensor, positions: Tensor) -> Tensor:
        """The block's input [N, S, D] at positions [N] -> rows [N, row] to store."""
        quantized = self.numerics.quantize_activation(self.block.attention_input(streams))
        return self.row_format.pack(self.projections.latent_rows(quantized, self._rotation(positions)))

    def step(self, streams: Tensor, token_ids: Tensor, positions: Tensor, windows: list[Window]) -> Tensor:
        """One new row of N sequences, each with a window of its own, which grows by it.

        streams [N, S, D] the block's input, token_ids [N] that went into it, positions [N] -> its output [N, S, D].
        """
        rotation = self._rotation(positions)
        return self.block(streams, token_ids, lambda x: self._attend(x, rotation, windows))

    def _rotation(self, positions: Tensor) -> Rotation:
        return rotation_at(positions, self.target.tables.plain)

    def _attend(self, x: Tensor, rotation: Rotation, windows: list[Window]) -> Tensor:
        quantized = self.numerics.quantize_activation(x)
        queries = self.projections.queries(self.projections.latent_query(quantized), rotation)
        own = self.row_format.pack(self.projections.latent_rows(quantized, rotation))
        pieces = []
        for i, window in enumerate(windows):
            window.rows = torch.cat([window.rows, own[i : i + 1]])[-self.config.sliding_window :]
            keys = self.row_format.unpack(window.rows)[None]
            valid = torch.ones(keys.shape[:2], dtype=torch.bool, device=x.device)
            scale = self.config.head_dim**-0.5
            pieces.append(sparse_attention(queries[i : i + 1], keys, valid, self.projections.sinks, scale))
        return self.projections.output(torch.cat(pieces), rotation)

    def logits(self, streams: Tensor) -> Tensor:
        """The block's output [N, S, D] -> [N, V] float32."""
        config = self.config
        hidden = collapse_streams(streams, self.hc_head, config.hc_eps, config.rms_norm_eps)
        return self.target.head(rms_norm(hidden, self.norm, config.rms_norm_eps))
