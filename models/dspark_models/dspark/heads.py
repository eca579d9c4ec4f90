"""The small heads of a draft: the Markov bias between neighbouring drafts, and how sure it is of each.

A draft of the DFlash kind has neither; what stands in for them behaves alike, so the drafter knows no difference.
Source: DSpark paper (Cheng et al. 2026), sections on the semi-autoregressive head and the confidence head. Names: D
hidden size, R Markov rank, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dspark_models.checkpoint import Checkpoint
from dspark_models.drafting import peak_probability


class MarkovHead:
    """Low-rank bigram bias: W2 (W1[previous token]). At rank 0 it adds nothing: a draft without this head."""

    def __init__(self, w1: Tensor, w2: Tensor) -> None:
        self.w1 = w1
        self.w2 = w2

    @classmethod
    def load(cls, checkpoint: Checkpoint, prefix: str, vocab_size: int, device: torch.device) -> MarkovHead:
        """`prefix.markov_w1` and `.markov_w2`, both [V, R]; of rank 0 when the checkpoint has neither."""
        names = [f"{prefix}.markov_{part}.weight" for part in ("w1", "w2")]
        if names[0] not in checkpoint.tensors:
            none = torch.zeros(vocab_size, 0, device=device)
            return cls(none, none)
        return cls(*(checkpoint.get(name).to(device) for name in names))

    def embed(self, token: int) -> Tensor:
        """The row [R] of a token, float32."""
        return self.w1[token].float()

    def bias(self, embedded: Tensor) -> Tensor:
        """embedded [R] -> what is added to the base logits, [V] float32."""
        return self.w2.float() @ embedded


class Confidence(Protocol):
    """How likely a draft survives verification, given that those before it did: uncalibrated, from 0 to 1.

    It is asked before the draft is drawn and never learns which token it is: so cutting a block by it is lossless.
    """

    def __call__(self, hidden: Tensor, embedded: Tensor, logits: Tensor) -> float:
        """hidden [D] before the final norm, embedded [R] of the token before the draft, its own logits [V]."""
        ...


class ConfidenceHead:
    """Learned from the hidden state and the token before."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.float().flatten()

    def __call__(self, hidden: Tensor, embedded: Tensor, logits: Tensor) -> float:
        """See Confidence; logits do not matter."""
        return float(torch.sigmoid(self.weight @ torch.cat([hidden.float(), embedded])))


class PeakConfidence:
    """For a draft without a confidence head: the largest probability of its own distribution."""

    def __call__(self, hidden: Tensor, embedded: Tensor, logits: Tensor) -> float:
        """See Confidence; only logits matter."""
        return peak_probability(logits)


def load_confidence(checkpoint: Checkpoint, prefix: str, device: torch.device) -> Confidence:
    """The head at `prefix.proj`, or what stands in for it when the checkpoint has none."""
    name = f"{prefix}.proj.weight"
    return ConfidenceHead(checkpoint.get(name).to(device)) if name in checkpoint.tensors else PeakConfidence()
