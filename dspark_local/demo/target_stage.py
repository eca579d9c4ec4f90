"""Stage "target": train the target from random weights within a time budget."""

from __future__ import annotations

import time

import torch
from torch.nn import functional as F

from dspark_local.demo.batches import Batch, Stream
from dspark_local.demo.exactness import score_domains
from dspark_local.demo.setup import (
    Budget,
    Log,
    Settings,
    load_state,
    make_tokenizer,
    save_state,
    seed_everything,
)  # fmt: skip
from dspark_models.training.moe import Gate
from dspark_models.training.muon import build_optimizers, set_rate
from dspark_models.training.shape import Shape
from dspark_models.training.target import Target

MUON_RATE, ADAM_RATE = 0.006, 0.003
PROMPT_WEIGHT = 0.1
WARMUP_STEPS = 20
# Share of the budget at full rate, then linear decay to FINAL.
FLAT, FINAL = 0.5, 0.02
LONG_PHASE = 0.9
# From here on everything is float32, whatever was asked for.
EXACT_PHASE = 0.86
SAVE_SECONDS = 180.0
SCORE_SECONDS = 300.0


def answer_loss(target: Target, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(weighted loss, plain mean loss on answer tokens) of next-token prediction."""
    hidden, _ = target.states(batch.ids)
    goal = batch.ids[:, 1:]
    weight = batch.answer[:, 1:].float() + PROMPT_WEIGHT * (batch.real[:, 1:] & ~batch.answer[:, 1:])
    keep = weight.flatten() > 0
    rows = hidden[:, :-1].flatten(0, 1)[keep]
    loss = F.cross_entropy(target.logits(rows).float(), goal.flatten()[keep], reduction="none")
    w = weight.flatten()[keep]
    learn = batch.answer[:, 1:].flatten()[keep].float()
    return (loss * w).sum() / w.sum(), (loss.detach() * learn).sum() / learn.sum()


def rate_factor(fraction: float, step: int) -> float:
    """Warm up over the first steps, stay flat, then decay linearly."""
    warm = min((step + 1) / WARMUP_STEPS, 1.0)
    if fraction <= FLAT:
        return warm
    return warm * (1 - (1 - FINAL) * (fraction - FLAT) / (1 - FLAT))


def balance(target: torch.nn.Module, step: float) -> None:
    """Nudge the selection bias of every router."""
    for module in target.modules():
        if isinstance(module, Gate):
            module.balance(step)


def train_target(settings: Settings, shape: Shape) -> None:
    """Train until the budget is used; continue from ``target.pt`` when it exists."""
    seed_everything(settings.seed)
    tokenizer = make_tokenizer(settings, shape)
    target = Target(shape).to(settings.device).train()
    dtype = torch.bfloat16 if settings.bfloat16 else torch.float32
    optimizers = build_optimizers(target, MUON_RATE, ADAM_RATE, dtype)
    stream = Stream(tokenizer, settings.seed, settings.batch_tokens, 1024)
    log = Log(settings.folder, "target")
    path = settings.folder / "target.pt"
    step, tokens, spent = 0, 0, 0.0
    state = load_state(path)
    if state is not None:
        target.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        stream.restore(state["stream"])
        torch.set_rng_state(state["rng"])
        step, tokens, spent = state["step"], state["tokens"], state["spent"]
    budget = Budget(settings.minutes, spent)

    def save() -> None:
        save_state(
            path,
            {
                "model": target.state_dict(),
                "optimizers": [o.state_dict() for o in optimizers],
                "stream": stream.position(),
                "rng": torch.get_rng_state(),
                "step": step, "tokens": tokens, "spent": budget.spent,
            },
        )  # fmt: skip

    saved_at = scored_at = time.monotonic()
    mean = float("nan")
    while budget.fraction < 1.0:
        fraction = budget.fraction
        stream.long = 0.5 if fraction > LONG_PHASE else 0.02
        batch = stream.next().to(settings.device)
        set_rate(optimizers, rate_factor(fraction, step))
        with torch.autocast(settings.device, torch.bfloat16, enabled=settings.bfloat16 and fraction < EXACT_PHASE):
            loss, plain = answer_loss(target, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(target.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        balance(target, 0.01 if fraction < LONG_PHASE else 0.001)
        if not torch.isfinite(norm):
            raise RuntimeError(f"training diverged at step {step}")
        step += 1
        tokens += int(batch.real.sum())
        value = float(plain)
        mean = value if mean != mean else 0.95 * mean + 0.05 * value
        if step % 20 == 0 or step < 5:
            log.write(
                step=step, tokens=tokens, minutes=round(budget.spent / 60, 2), loss=round(mean, 4),
                norm=round(float(norm), 3), rate=round(rate_factor(fraction, step), 3),
            )  # fmt: skip
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
        if time.monotonic() - scored_at > SCORE_SECONDS:
            log.write(step=step, tokens=tokens, **score_domains(target, tokenizer, 48))
            scored_at = time.monotonic()
    save()
    count = 8 if settings.smoke else 200
    log.write(step=step, tokens=tokens, final=True, **score_domains(target, tokenizer, count))
