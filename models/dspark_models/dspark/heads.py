"""The two small heads of a DSpark draft: the Markov bias between neighbouring drafts, and the confidence.

Source: DSpark paper (Cheng et al. 2026), sections on the semi-autoregressive head and the confidence head. Names: D
hidden size, R Markov rank, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


class MarkovHead:
    """Low-rank bigram bias: W2 (W1[previous token])."""

    def __init__(self, w1: Tensor, w2: Tensor) -> None:
        self.w1 = w1
        self.w2 = w2

    def embed(self, token: int) -> Tensor:
        """The row [R] of a token, float32."""
        return self.w1[token].float()

    def bias(self, embedded: Tensor) -> Tensor:
        """embedded [R] -> what is added to the base logits, [V] float32."""
        return self.w2.float() @ embedded


class ConfidenceHead:
    """How likely a draft survives verification, given that those before it did."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.float().flatten()

    def __call__(self, hidden: Tensor, embedded: Tensor) -> float:
        """hidden [D] before the final norm, embedded [R] of the token before the draft -> probability, uncalibrated."""
        return float(torch.sigmoid(self.weight @ torch.cat([hidden.float(), embedded])))
