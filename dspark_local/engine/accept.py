"""Which drafted tokens stay, so that the output is the target's own. Pure functions.

Rule of Leviathan et al. (2023), Chen et al. (2023): draft x from q is kept with probability min(1, p(x) / q(x)); at
the first loss the token comes from the positive part of p - q; when all are kept, one more comes from the target.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dspark_local.engine.sampling import draw, uniform


def accept(
    target_probs: Tensor,
    draft_probs: Sequence[Tensor | None],
    draft_ids: Sequence[int],
    generator: torch.Generator,
) -> tuple[int, int]:
    """(number of drafts kept, the token that follows them), distributed exactly as the target alone would.

    target_probs [K + 1, V]: row i is the processed distribution after drafts 0..i-1. draft_probs: K distributions [V]
    the drafts were drawn from; None for a draft that was chosen with certainty. Rows need not sum to exactly 1.
    ValueError: shapes or counts that do not fit, or a draft that its own distribution excludes.

    The remainder needs no threshold. A loss has p(x) < q(x), and both rows sum to 1, so p exceeds q elsewhere by the
    same mass. In float64 that mass can vanish only when p and q agree to the last bits; then the draft is as good a
    sample of p as any and is kept.
    """
    _check(target_probs, draft_probs, draft_ids)
    for index, (token, proposal) in enumerate(zip(draft_ids, draft_probs, strict=True)):
        p = _normalised(target_probs[index])
        chance = uniform(generator)
        if proposal is None:
            if chance < float(p[token]):
                continue
            remainder = p.clone()
            remainder[token] = 0.0
        else:
            q = _normalised(proposal).to(p.device)
            drafted = float(q[token])
            if drafted <= 0.0:
                raise ValueError(f"Draft {index} is token {token}, which its own distribution excludes.")
            if chance * drafted < float(p[token]):
                continue
            remainder = (p - q).clamp_(min=0.0)
        if float(remainder.sum()) > 0.0:
            return index, draw(remainder, generator)
    return len(draft_ids), draw(target_probs[-1], generator)


def accept_greedy(target_ids: Sequence[int], draft_ids: Sequence[int]) -> tuple[int, int]:
    """(number of drafts kept, the token that follows them) for the K + 1 greedy choices of the target.

    ValueError when there is not one choice more than there are drafts.
    """
    if len(target_ids) != len(draft_ids) + 1:
        raise ValueError(f"{len(draft_ids)} drafts need {len(draft_ids) + 1} target rows, got {len(target_ids)}.")
    for index, (wanted, drafted) in enumerate(zip(target_ids, draft_ids, strict=False)):
        if wanted != drafted:
            return index, wanted
    return len(draft_ids), target_ids[-1]


def _normalised(row: Tensor) -> Tensor:
    row = row.double()
    return row / row.sum()


def _check(target_probs: Tensor, draft_probs: Sequence[Tensor | None], draft_ids: Sequence[int]) -> None:
    if target_probs.dim() != 2 or target_probs.shape[0] != len(draft_ids) + 1:
        raise ValueError(f"{len(draft_ids)} drafts need {len(draft_ids) + 1} target rows, got {target_probs.shape}.")
    if len(draft_probs) != len(draft_ids):
        raise ValueError(f"{len(draft_ids)} drafts have {len(draft_probs)} distributions.")
    vocabulary = target_probs.shape[1]
    for index, row in enumerate(draft_probs):
        if row is not None and row.shape != (vocabulary,):
            raise ValueError(f"Draft distribution {index} has shape {tuple(row.shape)}, wanted ({vocabulary},).")
    for index, token in enumerate(draft_ids):
        if not 0 <= token < vocabulary:
            raise ValueError(f"Draft {index} is token {token}, the vocabulary has {vocabulary}.")
