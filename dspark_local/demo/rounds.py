"""Greedy speculative rounds replayed on the target's own greedy answers.

Greedy speculation writes the same tokens as plain greedy decoding, so rounds
can be replayed on a known answer: draft behind the anchor, count the leading
drafts that agree, continue behind the token that the target adds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dspark_local.demo.batches import pad
from dspark_local.demo.frozen import observe
from dspark_models.training.draft import Draft
from dspark_models.training.target import Target


@dataclass
class Rounds:
    """Rounds of several answers: how many drafts were accepted.

    ``full`` marks rounds in which the whole block lay inside the answer.
    """

    accepted: list[int] = field(default_factory=list)
    full: list[bool] = field(default_factory=list)
    tokens: int = 0

    def add(self, other: Rounds) -> None:
        """Append the rounds of another group."""
        self.accepted += other.accepted
        self.full += other.full
        self.tokens += other.tokens

    @property
    def accepted_length(self) -> float:
        """Mean accepted drafts plus one over full rounds."""
        lengths = [a + 1 for a, f in zip(self.accepted, self.full, strict=True) if f]
        return sum(lengths) / max(len(lengths), 1)

    @property
    def tokens_per_round(self) -> float:
        """Answer tokens per round, the short last rounds included."""
        return self.tokens / max(len(self.accepted), 1)


@torch.no_grad()
def replay(
    target: Target,
    draft: Draft,
    prompts: list[list[int]],
    answers: list[list[int]],
    markov: bool = True,
) -> Rounds:
    """Rounds over all (prompt, greedy answer) pairs; ``markov=False`` leaves the bias out."""
    out = Rounds()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(answers[i]))
    for start in range(0, len(order), 16):
        part = [i for i in order[start : start + 16] if len(answers[i]) > 1]
        if part:
            chosen = [(prompts[i], answers[i]) for i in part]
            out.add(_replay_group(target, draft, chosen, markov))
    return out


def _replay_group(target: Target, draft: Draft, pairs: list[tuple[list[int], list[int]]], markov: bool) -> Rounds:
    device = next(target.parameters()).device
    rows = [(p + a, [False] * len(p) + [True] * len(a)) for p, a in pairs]
    seen = observe(target, pad(rows).to(device))
    longest = max(len(a) for _, a in pairs) - 1
    starts = torch.tensor([len(p) for p, _ in pairs], device=device)
    anchors = starts.unsqueeze(1) + torch.arange(longest, device=device)
    anchors = anchors.clamp(max=seen.batch.ids.shape[1] - 1)
    tokens = seen.batch.ids.gather(1, anchors)
    ids = draft_chain(target, draft, seen.taps.float(), anchors, tokens, markov)
    slots = ids.shape[-1]
    out = Rounds()
    for row, (_, answer) in enumerate(pairs):
        # The first answer token comes from the prefill; it is the first anchor.
        at = 0
        while at < len(answer) - 1:
            accepted = 0
            guess = ids[row, at].tolist()
            rest = answer[at + 1 : at + 1 + slots]
            while accepted < len(rest) and guess[accepted] == rest[accepted]:
                accepted += 1
            out.accepted.append(accepted)
            out.full.append(at + 1 + slots < len(answer))
            out.tokens += min(accepted + 1, len(answer) - 1 - at)
            at += accepted + 1
    return out


def draft_chain(target: Target, draft: Draft, taps: Tensor, anchors: Tensor, tokens: Tensor, markov: bool) -> Tensor:
    """Greedy drafts [B, A, G] behind every anchor."""
    b, a = anchors.shape
    made = draft(target.embed, target.head, taps, anchors, tokens)
    previous = tokens.flatten()
    ids = []
    for slot in range(made.base.shape[1]):
        _, bias = draft.markov(previous)
        previous = (made.base[:, slot] + (bias if markov else 0)).argmax(-1)
        ids.append(previous)
    return torch.stack(ids, 1).view(b, a, -1)
