"""Stage "draft": train the DSpark draft on the frozen, rounded target."""

from __future__ import annotations

import random
import time
from typing import Any

import torch

from dspark_local.demo.anchors import choose
from dspark_local.demo.batches import Stream
from dspark_local.demo.frozen import Observed, load_target, observe
from dspark_local.demo.setup import (
    Budget,
    Log,
    Settings,
    load_state,
    make_tokenizer,
    save_state,
    seed_everything,
)  # fmt: skip
from dspark_local.demo.target_stage import EXACT_PHASE, balance, rate_factor
from dspark_models.training.draft import Draft
from dspark_models.training.draft_loss import DraftLoss, draft_loss
from dspark_models.training.muon import build_optimizers, set_rate
from dspark_models.training.shape import Shape
from dspark_models.training.storage import round_module
from dspark_models.training.target import Target

MUON_RATE, ADAM_RATE = 0.006, 0.003
ANCHORS = 24
# States of this many batches are kept; half of the steps use one of them again.
CACHED = 240
SAVE_SECONDS = 180.0


def draft_step(draft: Draft, target: Target, seen: Observed, anchors: int) -> DraftLoss:
    """Loss of randomly placed blocks on one observed batch."""
    blocks = choose(seen.batch, anchors, draft.shape.dspark_block_size)
    out = draft(target.embed, target.head, seen.taps.float(), blocks.anchors, blocks.tokens)
    keep = blocks.valid.any(1)
    with torch.no_grad():
        states = seen.hidden.flatten(0, 1)[blocks.sources[keep]]
        goal = target.logits(states)
    embedding, bias = draft.markov(blocks.previous[keep])
    hidden = out.hidden[keep]
    confidence = draft.confidence(hidden, embedding)
    return draft_loss(out.base[keep] + bias, confidence, goal, blocks.labels[keep], blocks.valid[keep])


def load_draft(settings: Settings, shape: Shape, rounded: bool = True) -> Draft:
    """The draft of ``draft.pt``."""
    state = load_state(settings.folder / "draft.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.folder / 'draft.pt'}: run the draft stage first")
    draft = Draft(shape)
    draft.load_state_dict(state["model"])
    if rounded:
        round_module(draft)
    draft.requires_grad_(False)
    return draft.eval().to(settings.device)


def train_draft(settings: Settings, shape: Shape) -> None:
    """Train until the budget is used; continue from ``draft.pt`` when it exists."""
    seed_everything(settings.seed + 1)
    tokenizer = make_tokenizer(settings, shape)
    target = load_target(settings, shape)
    draft = Draft(shape).to(settings.device).train()
    dtype = torch.bfloat16 if settings.bfloat16 else torch.float32
    optimizers = build_optimizers(draft, MUON_RATE, ADAM_RATE, dtype)
    stream = Stream(tokenizer, settings.seed + 1000, settings.batch_tokens, 1024)
    stream.long = 0.05
    log = Log(settings.folder, "draft")
    path = settings.folder / "draft.pt"
    step, spent = 0, 0.0
    state = load_state(path)
    if state is not None:
        draft.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        stream.restore(state["stream"])
        torch.set_rng_state(state["rng"])
        step, spent = state["step"], state["spent"]
    budget = Budget(settings.minutes, spent)

    def save() -> None:
        values: dict[str, Any] = {
            "model": draft.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
            "stream": stream.position(),
            "rng": torch.get_rng_state(),
            "step": step,
            "spent": budget.spent,
        }
        save_state(path, values)

    cache: list[Observed] = []
    chooser = random.Random(f"replay/{settings.seed}/{step}")
    saved_at = time.monotonic()
    mean: torch.Tensor | None = None
    while budget.fraction < 1.0:
        fraction = budget.fraction
        exact = not settings.bfloat16 or fraction > EXACT_PHASE
        with torch.autocast(settings.device, torch.bfloat16, enabled=not exact):
            if len(cache) >= 8 and chooser.random() < 0.5:
                seen = chooser.choice(cache)
            else:
                seen = observe(target, stream.next().to(settings.device))
                if len(cache) < CACHED:
                    cache.append(seen)
                else:
                    cache[chooser.randrange(CACHED)] = seen
            set_rate(optimizers, rate_factor(fraction, step))
            loss = draft_step(draft, target, seen, 8 if settings.smoke else ANCHORS)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(draft.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise RuntimeError(f"draft training diverged at step {step}")
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        balance(draft, 0.01 if fraction < 0.8 else 0.001)
        step += 1
        mean = loss.acceptance if mean is None else 0.95 * mean + 0.05 * loss.acceptance
        if step % 20 == 0 or step < 4:
            log.write(
                step=step, minutes=round(budget.spent / 60, 2), loss=round(float(loss.total.detach()), 4),
                acceptance=[round(float(a), 3) for a in mean], norm=round(float(norm), 3),
            )  # fmt: skip
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    save()
