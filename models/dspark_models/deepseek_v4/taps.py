"""What a draft reads of its target: hidden states picked out while a pass runs, side by side as features.

Names: N tokens in the pass, S residual streams, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

EMBEDDING = -1
"""In place of a layer: the streams that enter layer 0, each the embedding of the token."""


class Tap(NamedTuple):
    """The streams [N, S, D] after a layer (0-based, or EMBEDDING), and what is read of them: -> [N, features]."""

    layer: int
    read: Callable[[Tensor], Tensor]


def stream_mean(streams: Tensor) -> Tensor:
    """streams [N, S, D] -> [N, D]."""
    return streams.float().mean(1).to(streams.dtype)


def all_streams(streams: Tensor) -> Tensor:
    """streams [N, S, D] -> [N, S * D]."""
    return streams.flatten(1)


def first_stream(streams: Tensor) -> Tensor:
    """streams [N, S, D] -> [N, D]; of the embedding, where all are equal."""
    return streams[:, 0]


def mean_taps(layers: Sequence[int]) -> tuple[Tap, ...]:
    """What DSpark and DFlash drafts read: the mean over the streams after each of these layers."""
    return tuple(Tap(layer, stream_mean) for layer in layers)


class TapReader:
    """Collects the features of one pass; is shown the streams after each layer and keeps only what a tap reads."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps
        self._read: dict[Tap, Tensor] = {}

    def show(self, layer: int, streams: Tensor) -> None:
        """The streams [N, S, D] after `layer`, in any order of layers."""
        self._read.update({tap: tap.read(streams) for tap in self._taps if tap.layer == layer})

    def features(self, streams: Tensor) -> Tensor:
        """[N, F] in the order of the taps, once all layers were shown; of no tap, [N, 0]. streams give N and dtype."""
        return torch.cat([streams[:, 0, :0], *(self._read[tap] for tap in self._taps)], dim=-1)
