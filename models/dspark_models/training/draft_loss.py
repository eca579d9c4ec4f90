"""The three losses of the DSpark paper (section 6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CE_WEIGHT, L1_WEIGHT, CONFIDENCE_WEIGHT = 0.1, 0.9, 1.0


class DraftLoss(NamedTuple):
    """The loss and, per slot, the mean expected acceptance 1 - TV."""

    total: Tensor
    acceptance: Tensor


def draft_loss(
    logits: Tensor,
    confidence: Tensor,
    target_logits: Tensor,
    labels: Tensor,
    valid: Tensor,
    decay: float = 4.0,
) -> DraftLoss:
    """Cross-entropy to the data, L1 distance to the target, BCE of the confidence.

    logits and target_logits [N, G, V] are distributions of the same token,
    labels [N, G] its value in the data, confidence [N, G] logits, valid [N, G]
    marks slots inside the text. Slot k (from 1) weighs exp(-(k - 1) / decay).
    """
    slots = logits.shape[1]
    weight = torch.exp(-torch.arange(slots, device=logits.device) / decay) * valid
    weight = weight / weight.sum().clamp_min(1e-9)
    log_q = F.log_softmax(logits.float(), -1)
    ce = -log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    distance = (log_q.exp() - F.softmax(target_logits.float(), -1)).abs().sum(-1)
    agree = (1 - 0.5 * distance).detach().clamp(0, 1)
    bce = F.binary_cross_entropy_with_logits(confidence.float(), agree, reduction="none")
    each = CE_WEIGHT * ce + L1_WEIGHT * distance + CONFIDENCE_WEIGHT * bce
    mean = (agree * valid).sum(0) / valid.sum(0).clamp_min(1)
    return DraftLoss((each * weight).sum(), mean)
