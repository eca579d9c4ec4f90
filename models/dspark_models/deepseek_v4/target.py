"""DeepSeek-V4 as a Target: several sequences in one pass, exact rewinding, taps for the draft.

Names: N tokens in the pass, S residual streams, D hidden size, F tapped features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dspark_kernels.hyper_connection import collapse_streams
from dspark_kernels.rms_norm import rms_norm
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.attention import Attention
from dspark_models.deepseek_v4.batch import Batch, RopeTables, Span
from dspark_models.deepseek_v4.block import ResidualBlock, load_hyper_connection
from dspark_models.deepseek_v4.cache import REWIND_SPAN, LayerCache
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.moe import MixtureOfExperts
from dspark_models.deepseek_v4.taps import EMBEDDING, TapReader, mean_taps
from dspark_models.experts import ExpertStore
from dspark_models.numerics import Numerics
from dspark_models.protocols import Run, RunOutput
from dspark_models.sequences import SequenceTable
from dspark_models.weights import ExpandedCache, Head


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Copies of all rings of one sequence, and its lengths. Compressed entries need none: they stay where they are."""

    sequence: int
    length: int
    furthest: int
    rings: list[Tensor]


class DeepseekV4Target:
    """Implements dspark_models.protocols.Target."""

    rewind_span = REWIND_SPAN

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        numerics: Numerics,
        device: torch.device,
        store: ExpertStore,
        *,
        context_length: int,
        max_sequences: int,
    ) -> None:
        self.config = config
        self.arithmetic = numerics
        self.store = store
        self.vocab_size = config.vocab_size
        self.context_length = context_length
        self.weight_bytes = sum(info.nbytes for name, info in checkpoint.tensors.items() if not name.startswith("mtp."))
        self.torch_device = device
        self.expanded = ExpandedCache()
        self.embedding = checkpoint.get("embed.weight").to(device)
        self.head = Head(checkpoint.get("head.weight").to(device), self.expanded)
        self.norm = checkpoint.get("norm.weight").to(device)
        self.hc_head = load_hyper_connection(checkpoint, "hc_head", device)
        self.tables = RopeTables(config, device)
        self.blocks, self.attentions, self.caches = [], [], []
        for layer in range(config.num_hidden_layers):
            prefix = f"layers.{layer}"
            moe = MixtureOfExperts(config, checkpoint, prefix, store, numerics, device, self.expanded)
            self.blocks.append(ResidualBlock(config, checkpoint, prefix, moe, device))
            self.attentions.append(Attention(config, checkpoint, layer, numerics, device, self.expanded))
            self.caches.append(LayerCache(config, layer, numerics, max_sequences, context_length, device))
        # Whoever loads a draft that reads something else says so here.
        self.taps = mean_taps(config.dspark.target_layer_ids) if config.dspark else ()
        self._sequences = SequenceTable(max_sequences, REWIND_SPAN)

    @property
    def device(self) -> str:
        """Where it computes, such as cpu or cuda:0."""
        return str(self.torch_device)

    @property
    def dtype(self) -> str:
        """The dtype of activations, such as float32."""
        return str(self.arithmetic.dtype).removeprefix("torch.")

    @property
    def numerics(self) -> str:
        """How it computes, in one line."""
        return self.arithmetic.describe()

    def new_sequence(self) -> int:
        """See Target."""
        return self._sequences.reserve()

    def free_sequence(self, sequence: int) -> None:
        """See Target."""
        self._sequences.free(sequence)

    def length(self, sequence: int) -> int:
        """See Target."""
        return self._sequences.length(sequence)

    @torch.inference_mode()
    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        """See Target. ValueError for an empty run, or a sequence given twice, past its context or left mid-pass."""
        spans = self._spans(runs)
        token_ids = torch.cat([run.token_ids for run in runs]).to(self.torch_device)
        if int(token_ids.min()) < 0 or int(token_ids.max()) >= self.vocab_size:
            raise ValueError(f"token ids must be from 0 to {self.vocab_size - 1}")
        batch = Batch.build(token_ids, spans, self.tables)
        for span in spans:
            self._sequences.begin(span.sequence, span.stop)
        streams = self.embed(token_ids)
        reader = TapReader(self.taps)
        reader.show(EMBEDDING, streams)
        for layer, (block, attention, cache) in enumerate(zip(self.blocks, self.attentions, self.caches, strict=True)):

            def attend(x: Tensor, attention: Attention = attention, cache: LayerCache = cache) -> Tensor:
                return attention(x, batch, self.tables, cache)

            streams = block(streams, token_ids, attend)
            reader.show(layer, streams)
        outputs = self._outputs(streams, reader.features(streams), runs, spans)
        for span in spans:
            self._sequences.extend(span.sequence, span.stop)
        return outputs

    def _spans(self, runs: Sequence[Run]) -> list[Span]:
        spans: list[Span] = []
        begin = 0
        for run in runs:
            start, count = self._sequences.length(run.sequence), run.token_ids.numel()
            if count < 1:
                raise ValueError("a run needs at least one token")
            if any(span.sequence == run.sequence for span in spans):
                raise ValueError(f"sequence {run.sequence} stands twice in one pass")
            if start + count > self.context_length:
                raise ValueError(f"{start} + {count} tokens pass the context of {self.context_length}")
            spans.append(Span(run.sequence, start, begin, begin + count))
            begin += count
        return spans

    def embed(self, token_ids: Tensor) -> Tensor:
        """token_ids [N] -> [N, S, D]: the same embedding in every stream."""
        embedded = self.embedding[token_ids].to(self.arithmetic.dtype)
        return embedded[:, None].repeat(1, self.config.hc_mult, 1)

    def _outputs(self, streams: Tensor, taps: Tensor, runs: Sequence[Run], spans: list[Span]) -> list[RunOutput]:
        first = {"all": lambda span: span.begin, "last": lambda span: span.end - 1, "none": lambda span: span.end}
        begins = [first[run.logits](span) for run, span in zip(runs, spans, strict=True)]
        wanted = torch.cat([streams[begin : span.end] for begin, span in zip(begins, spans, strict=True)])
        config = self.config
        hidden = collapse_streams(wanted, self.hc_head, config.hc_eps, config.rms_norm_eps)
        logits = self.head(rms_norm(hidden, self.norm, config.rms_norm_eps))
        rows = logits.split([span.end - begin for begin, span in zip(begins, spans, strict=True)])
        return [RunOutput(part, taps[span.begin : span.end]) for part, span in zip(rows, spans, strict=True)]

    def rewind(self, sequence: int, length: int) -> None:
        """See Target. Nothing is copied: rows are addressed by position."""
        self._sequences.rewind(sequence, length)

    def snapshot(self, sequence: int) -> Snapshot:
        """See Target."""
        rings = [ring.data[sequence].clone() for cache in self.caches for ring in cache.rings]
        return Snapshot(sequence, self.length(sequence), self._sequences.furthest(sequence), rings)

    def restore(self, sequence: int, snapshot: object) -> None:
        """See Target. ValueError for a snapshot of another sequence."""
        if not isinstance(snapshot, Snapshot) or snapshot.sequence != sequence:
            raise ValueError(f"the snapshot is not one of sequence {sequence}")
        live = [ring for cache in self.caches for ring in cache.rings]
        for ring, saved in zip(live, snapshot.rings, strict=True):
            ring.data[sequence] = saved
        self._sequences.restore(sequence, snapshot.length, snapshot.furthest)

    def adopt(self, sequence: int, snapshot: object) -> None:
        """See Target. ValueError for a sequence that is not empty, or not another one."""
        if not isinstance(snapshot, Snapshot) or snapshot.sequence == sequence or self._sequences.furthest(sequence):
            raise ValueError(f"sequence {sequence} cannot take over what this snapshot holds")
        for cache in self.caches:
            cache.copy_entries(snapshot.sequence, sequence, snapshot.length)
        self.restore(sequence, replace(snapshot, sequence=sequence))

    def bytes_held(self) -> dict[str, int]:
        """See Target: weights on disk, caches of all sequences, and expanded copies of small matrices."""
        totals = {"weights": self.weight_bytes, "expanded": self.expanded.held_bytes}
        for cache in self.caches:
            for part, nbytes in cache.bytes_held().items():
                totals[part] = totals.get(part, 0) + nbytes
        return totals
