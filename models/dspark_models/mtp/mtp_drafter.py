"""V4's plain MTP module as a Drafter: one token a pass, repeated on its own output to make a block.

With P tokens observed and the anchor at position P, the first draft comes from row P - 1: the target's streams there
and the anchor. Each further row takes the streams that the module itself put out, and the draft before. Rows of drafts
are never stored; those of committed tokens are, once the token after them is observed.

Names: T tokens, S residual streams, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.inventory import draft_bytes
from dspark_models.deepseek_v4.taps import EMBEDDING, Tap, all_streams, first_stream
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.drafting import ContextDrafter, peak_probability
from dspark_models.experts import ExpertStore
from dspark_models.mtp.module import MtpModule, Window
from dspark_models.protocols import DraftBlock, DraftRequest
from dspark_models.rings import PositionRing


def mtp_taps(layers: int) -> tuple[Tap, ...]:
    """What the drafter reads of a target of `layers` layers: [T, (S + 1) * D], its last streams and each embedding.

    The embedding says which token stands at a position, all that the module asks of a token.
    """
    return (Tap(layers - 1, all_streams), Tap(EMBEDDING, first_stream))


class _Draft(NamedTuple):
    """A block in the making: row `position` is the next one."""

    request: DraftRequest
    length: int
    window: Window
    block: DraftBlock

    @property
    def newest(self) -> int:
        """The token that the next row takes in."""
        return self.block.ids[-1] if self.block.ids else self.request.anchor

    @property
    def position(self) -> int:
        """Where the next row stands."""
        return self.request.position - 1 + len(self.block.ids)

    @property
    def is_complete(self) -> bool:
        """True when all its slots are drawn."""
        return len(self.block.ids) == self.length


class MtpDrafter(ContextDrafter):
    """Implements dspark_models.protocols.Drafter. The target must tap mtp_taps."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        target: DeepseekV4Target,
        store: ExpertStore,
        *,
        block_size: int,
        max_sequences: int,
    ) -> None:
        config, device = target.config, target.torch_device
        self.target = target
        self.device = device
        self.store = store
        self.module = MtpModule(checkpoint, target, store)
        self.window_size = config.sliding_window
        span = target.rewind_span
        width, row_dtype = self.module.row_format.row
        self.context = PositionRing(max_sequences, config.sliding_window + span, (width,), row_dtype, device)
        # The row of the last observed token lacks its next token, so its streams wait; after a rewind, older ones do.
        streams = (config.hc_mult, config.hidden_size)
        self.states = PositionRing(max_sequences, span + 1, streams, target.arithmetic.dtype, device)
        super().__init__(
            [self.context, self.states],
            block_size=block_size,
            rewind_span=span,
            weight_bytes=draft_bytes(checkpoint),
            max_sequences=max_sequences,
        )

    @torch.inference_mode()
    def observe(self, sequence: int, position: int, taps: Tensor) -> None:
        """See Drafter. Only rows that a block can see are made. ValueError when a gap would arise."""
        count, hidden = taps.shape[0], self.target.config.hidden_size
        self._extend(sequence, position, count)
        states, embedded = taps[:, :-hidden].unflatten(-1, (-1, hidden)), taps[:, -hidden:]
        # Each token completes the row of the position before it; the newest row stays open.
        before = self.states.span(sequence, position - 1, position)
        complete = torch.cat([before.rows, states])[:-1]
        following = embedded[count - complete.shape[0] :]
        skipped = max(0, complete.shape[0] - self.context.capacity)
        first = before.base + skipped
        positions = torch.arange(first, position + count - 1, device=self.device)
        if len(positions):
            streams = self.module.join(complete[skipped:], following[skipped:])
            self.context.store(sequence, first, self.module.context_rows(streams, positions))
        self.states.store(sequence, position, states)

    @torch.inference_mode()
    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        """See Drafter. ValueError when the draft has not seen exactly the tokens before an anchor, or has seen none."""
        if any(request.position == 0 for request in requests):
            raise ValueError("an MTP draft continues the target's streams: it needs a token before the anchor")
        lengths = self._block_lengths(requests)
        drafts = [self._begin(request, length) for request, length in zip(requests, lengths, strict=True)]
        last = [self.states.span(r.sequence, r.position - 1, r.position).rows for r in requests]
        states, active = torch.cat(last), drafts
        while active:
            states = self._step(active, states)
            going_on = [i for i, draft in enumerate(active) if not draft.is_complete]
            states, active = states[going_on], [active[i] for i in going_on]
        return [draft.block for draft in drafts]

    def _begin(self, request: DraftRequest, length: int) -> _Draft:
        newest = request.position - 1
        context = self.context.span(request.sequence, newest + 1 - self.window_size, newest)
        return _Draft(request, length, Window(context.rows), DraftBlock([], [], []))

    def _step(self, drafts: list[_Draft], states: Tensor) -> Tensor:
        """Draw one token for each draft from states [N, S, D]; returns the module's own output streams [N, S, D]."""
        token_ids = torch.tensor([draft.newest for draft in drafts], dtype=torch.int64, device=self.device)
        positions = torch.tensor([draft.position for draft in drafts], dtype=torch.int64, device=self.device)
        joined = self.module.join(states, self.target.embed(token_ids)[:, 0])
        streams = self.module.step(joined, token_ids, positions, [draft.window for draft in drafts])
        for draft, logits in zip(drafts, self.module.logits(streams), strict=True):
            draft.block.confidences.append(peak_probability(logits))
            token, probabilities = draft.request.sampler(len(draft.block.ids), logits)
            draft.block.ids.append(token)
            draft.block.probabilities.append(probabilities)
        return streams
