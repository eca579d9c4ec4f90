"""V4's DSpark module as a Drafter: one parallel pass over a block, then a short Markov chain over its slots.

Every slot, the anchor's included, predicts the token after it: n slots give n drafts. A draft of the DFlash kind is the
same without the chain or without its own confidences. Source: DSpark paper (Cheng et al. 2026); tensor layout of the
released `mtp.*` files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dspark_kernels.hyper_connection import collapse_streams
from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.rope import rotation_at
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.block import load_hyper_connection
from dspark_models.deepseek_v4.config import DSparkSettings
from dspark_models.deepseek_v4.inventory import draft_bytes
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.drafting import ContextDrafter
from dspark_models.dspark.heads import MarkovHead, load_confidence
from dspark_models.dspark.stage import DraftSpan, DraftStage
from dspark_models.experts import ExpertStore
from dspark_models.protocols import DraftBlock, DraftRequest
from dspark_models.weights import Matrix


class V4Drafter(ContextDrafter):
    """Implements dspark_models.protocols.Drafter. Shares embedding, head and numerics with its target."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        target: DeepseekV4Target,
        settings: DSparkSettings,
        stages: int,
        store: ExpertStore,
        *,
        max_sequences: int,
    ) -> None:
        config, device, numerics = target.config, target.torch_device, target.arithmetic
        self.target = target
        self.config = config
        self.numerics = numerics
        self.device = device
        self.settings = settings
        self.store = store
        expanded = target.expanded
        self.stages = [
            DraftStage(config, checkpoint, stage, numerics, device, store, expanded, max_sequences)
            for stage in range(stages)
        ]
        last = f"mtp.{stages - 1}"
        self.main_proj = Matrix.load(checkpoint, "mtp.0.main_proj", device, expanded)
        self.main_norm = checkpoint.get("mtp.0.main_norm.weight").to(device)
        self.norm = checkpoint.get(f"{last}.norm.weight").to(device)
        self.hc_head = load_hyper_connection(checkpoint, f"{last}.hc_head", device)
        self.markov = MarkovHead.load(checkpoint, f"{last}.markov_head", config.vocab_size, device)
        self.confidence = load_confidence(checkpoint, f"{last}.confidence_head", device)
        super().__init__(
            [stage.context for stage in self.stages],
            block_size=settings.block_size,
            rewind_span=target.rewind_span,
            weight_bytes=draft_bytes(checkpoint),
            max_sequences=max_sequences,
        )

    @torch.inference_mode()
    def observe(self, sequence: int, position: int, taps: Tensor) -> None:
        """See Drafter. Only the newest rows that a block can see are projected. ValueError when a gap would arise."""
        self._extend(sequence, position, taps.shape[0])
        skipped = max(0, taps.shape[0] - self.stages[0].context.capacity)
        taps, position = taps[skipped:], position + skipped
        quantize = self.numerics.quantize_activation
        main = rms_norm(self.main_proj(quantize(taps)), self.main_norm, self.config.rms_norm_eps)
        positions = torch.arange(position, position + taps.shape[0], device=self.device)
        rotation = rotation_at(positions, self.target.tables.plain)
        quantized = quantize(main)
        for stage in self.stages:
            stage.observe(sequence, position, quantized, rotation)

    @torch.inference_mode()
    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        """See Drafter. ValueError when the draft has not seen exactly the tokens before an anchor."""
        lengths = self._block_lengths(requests)
        hidden, logits = (rows.split(lengths) for rows in self._block_pass(requests, lengths))
        return [self._chain(*parts) for parts in zip(requests, hidden, logits, strict=True)]

    def _block_pass(self, requests: Sequence[DraftRequest], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(hidden [N, D] before the final norm, base logits [N, V] float32), N the sum of all block lengths."""
        ids: list[int] = []
        spans: list[DraftSpan] = []
        for request, length in zip(requests, lengths, strict=True):
            spans.append(DraftSpan(request.sequence, request.position, len(ids), len(ids) + length))
            ids += [request.anchor, *[self.settings.noise_token_id] * (length - 1)]
        token_ids = torch.tensor(ids, dtype=torch.int64, device=self.device)
        positions = torch.cat(
            [span.position + torch.arange(span.end - span.begin, device=self.device) for span in spans]
        )
        rotation = rotation_at(positions, self.target.tables.plain)
        streams = self.target.embed(token_ids)
        for stage in self.stages:
            streams = stage(streams, token_ids, spans, rotation)
        config = self.config
        hidden = collapse_streams(streams, self.hc_head, config.hc_eps, config.rms_norm_eps)
        return hidden, self.target.head(rms_norm(hidden, self.norm, config.rms_norm_eps))

    def _chain(self, request: DraftRequest, hidden: Tensor, base_logits: Tensor) -> DraftBlock:
        """Choose the drafts from left to right, each biased by the one before it; rows [K, D] and [K, V]."""
        block = DraftBlock([], [], [])
        previous = request.anchor
        for slot, (state, base) in enumerate(zip(hidden, base_logits, strict=True)):
            embedded = self.markov.embed(previous)
            logits = base + self.markov.bias(embedded)
            block.confidences.append(self.confidence(state, embedded, logits))
            previous, probabilities = request.sampler(slot, logits)
            block.ids.append(previous)
            block.probabilities.append(probabilities)
        return block
