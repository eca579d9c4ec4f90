"""V4's DSpark module as a Drafter: one parallel pass over a block, then a short Markov chain over its slots.

Every slot, the anchor's included, predicts the token after it: n slots give n drafts. Source: DSpark paper (Cheng et
al. 2026); tensor layout of the released `mtp.*` files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dspark_kernels.hyper_connection import collapse_streams
from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.rope import rotation_at
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.block import load_hyper_connection
from dspark_models.deepseek_v4.cache import REWIND_SPAN
from dspark_models.deepseek_v4.config import DSparkSettings
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.dspark.heads import ConfidenceHead, MarkovHead
from dspark_models.dspark.stage import DraftSpan, DraftStage
from dspark_models.experts import ExpertStore
from dspark_models.protocols import DraftBlock, DraftRequest
from dspark_models.sequences import SequenceTable
from dspark_models.weights import Matrix


@dataclass(frozen=True, slots=True)
class DraftSnapshot:
    """Copies of the context rings of one sequence, and its lengths."""

    sequence: int
    length: int
    furthest: int
    rings: list[Tensor]


class V4Drafter:
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
        self.block_size = settings.block_size
        self.weight_bytes = sum(info.nbytes for name, info in checkpoint.tensors.items() if name.startswith("mtp."))
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
        markov = (checkpoint.get(f"{last}.markov_head.markov_{part}.weight").to(device) for part in ("w1", "w2"))
        self.markov = MarkovHead(*markov)
        self.confidence = ConfidenceHead(checkpoint.get(f"{last}.confidence_head.proj.weight").to(device))
        self._sequences = SequenceTable(max_sequences, REWIND_SPAN)

    def new_sequence(self) -> int:
        """See Drafter."""
        return self._sequences.reserve()

    def free_sequence(self, sequence: int) -> None:
        """See Drafter."""
        self._sequences.free(sequence)

    @torch.inference_mode()
    def observe(self, sequence: int, position: int, taps: Tensor) -> None:
        """See Drafter. Only the newest rows that a block can see are projected. ValueError when a gap would arise."""
        length = self._sequences.length(sequence)
        if position != length:
            raise ValueError(f"the draft has seen {length} tokens, it cannot go on at {position}")
        skipped = max(0, taps.shape[0] - self.stages[0].context.capacity)
        self._sequences.extend(sequence, position + taps.shape[0])
        taps, position = taps[skipped:], position + skipped
        quantize = self.numerics.quantize_activation
        main = rms_norm(self.main_proj(quantize(taps)), self.main_norm, self.config.rms_norm_eps)
        positions = torch.arange(position, position + taps.shape[0], device=self.device)
        rotation = rotation_at(positions, self.target.tables.plain)
        quantized = quantize(main)
        for stage in self.stages:
            stage.observe(sequence, position, quantized, rotation)

    def rewind(self, sequence: int, length: int) -> None:
        """See Drafter. ValueError when that is more than the target's rewind span back."""
        self._sequences.rewind(sequence, length)

    def snapshot(self, sequence: int) -> DraftSnapshot:
        """See Drafter."""
        rings = [stage.context.data[sequence].clone() for stage in self.stages]
        return DraftSnapshot(sequence, self._sequences.length(sequence), self._sequences.furthest(sequence), rings)

    def restore(self, sequence: int, snapshot: object) -> None:
        """See Drafter. ValueError for a snapshot of another sequence."""
        if not isinstance(snapshot, DraftSnapshot) or snapshot.sequence != sequence:
            raise ValueError(f"the snapshot is not one of sequence {sequence}")
        for stage, saved in zip(self.stages, snapshot.rings, strict=True):
            stage.context.data[sequence] = saved
        self._sequences.restore(sequence, snapshot.length, snapshot.furthest)

    @torch.inference_mode()
    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        """See Drafter. ValueError when the draft has not seen exactly the tokens before an anchor."""
        for request in requests:
            seen = self._sequences.length(request.sequence)
            if seen != request.position:
                raise ValueError(f"the anchor is at {request.position}, but the draft has seen {seen} tokens")
        hidden, logits = self._block_pass(requests)
        size = self.block_size
        return [
            self._chain(request, hidden[i * size : (i + 1) * size], logits[i * size : (i + 1) * size])
            for i, request in enumerate(requests)
        ]

    def _block_pass(self, requests: Sequence[DraftRequest]) -> tuple[Tensor, Tensor]:
        """(hidden [N, D] before the final norm, base logits [N, V] float32), N = requests x block."""
        size = self.block_size
        noise = [self.settings.noise_token_id] * (size - 1)
        ids = [token for request in requests for token in (request.anchor, *noise)]
        token_ids = torch.tensor(ids, dtype=torch.int64, device=self.device)
        offsets = torch.arange(size, device=self.device)
        positions = torch.cat([request.position + offsets for request in requests])
        rotation = rotation_at(positions, self.target.tables.plain)
        spans = [
            DraftSpan(request.sequence, request.position, i * size, (i + 1) * size)
            for i, request in enumerate(requests)
        ]
        streams = self.target.embed(token_ids)
        for stage in self.stages:
            streams = stage(streams, token_ids, spans, rotation)
        config = self.config
        hidden = collapse_streams(streams, self.hc_head, config.hc_eps, config.rms_norm_eps)
        return hidden, self.target.head(rms_norm(hidden, self.norm, config.rms_norm_eps))

    def _chain(self, request: DraftRequest, hidden: Tensor, logits: Tensor) -> DraftBlock:
        """Choose the drafts from left to right, each biased by the one before it."""
        block = DraftBlock([], [], [])
        previous = request.anchor
        for slot in range(self.block_size):
            embedded = self.markov.embed(previous)
            block.confidences.append(self.confidence(hidden[slot], embedded))
            previous, probabilities = request.sampler(slot, logits[slot] + self.markov.bias(embedded))
            block.ids.append(previous)
            block.probabilities.append(probabilities)
        return block

    def bytes_held(self) -> dict[str, int]:
        """See Drafter."""
        context = sum(stage.context.nbytes for stage in self.stages)
        return {"draft_weights": self.weight_bytes, "draft_context": context}
