"""Stage "calibrate": temperatures of the confidences, and the figures of the finished pair."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer

from dspark_local.demo.corpus import DOMAINS
from dspark_local.demo.draft_stage import load_draft
from dspark_local.demo.exactness import score
from dspark_local.demo.frozen import load_target
from dspark_local.demo.generate import greedy
from dspark_local.demo.heldout import held_out
from dspark_local.demo.layout import Conversation, answer_of, prompt_of
from dspark_local.demo.rounds import Rounds, replay
from dspark_local.demo.scaling import errors, fit
from dspark_local.demo.setup import Log, Settings, make_tokenizer
from dspark_models.training.checkpoint import write_json
from dspark_models.training.shape import Shape
from dspark_models.training.target import Target


def greedy_answers(
    target: Target, tokenizer: Tokenizer, items: list[Conversation], exact: list[bool]
) -> tuple[list[list[int]], list[list[int]]]:
    """(prompts, greedy answers); where the reference is the greedy answer it is not decoded."""
    prompts = [tokenizer.encode(prompt_of(i), add_special_tokens=False).ids for i in items]
    answers = [tokenizer.encode(answer_of(i), add_special_tokens=False).ids for i in items]
    missing = [i for i, ok in enumerate(exact) if not ok]
    for i, answer in zip(missing, greedy(target, [prompts[i] for i in missing], 160) if missing else [], strict=True):
        answers[i] = answer
    return prompts, answers


def calibrate(settings: Settings, shape: Shape, count: int) -> dict[str, Any]:
    """Write ``dspark_calibration.json`` and ``figures.json``; ``count`` prompts per domain.

    Even rounds fit the temperatures, odd rounds give the errors reported.
    """
    tokenizer = make_tokenizer(settings, shape)
    target, draft = load_target(settings, shape), load_draft(settings, shape)
    log = Log(settings.folder, "calibrate")
    everything = Rounds()
    figures: dict[str, Any] = {}
    for domain in DOMAINS:
        # Stories are decoded token by token, so a smaller sample has to do.
        items = held_out(domain, count if domain != "story" else max(count // 5, 1))
        loss, top, exact = score(target, tokenizer, items)
        prompts, answers = greedy_answers(target, tokenizer, items, exact)
        rounds = replay(target, draft, prompts, answers)
        bare = replay(target, draft, prompts, answers, markov=False)
        everything.add(rounds)
        figures[domain] = {
            "prompts": len(items),
            "loss": round(loss, 4),
            "top1": round(top, 4),
            "exact": round(sum(exact) / len(exact), 4),
            "accepted_length": round(rounds.accepted_length, 3),
            "accepted_length_without_markov": round(bare.accepted_length, 3),
            "tokens_per_round": round(rounds.tokens_per_round, 3),
            "rounds": len(rounds.accepted),
        }
        log.write(domain=domain, **figures[domain])
    full = torch.tensor(everything.full)
    logits = torch.tensor(everything.confidence, dtype=torch.float64)[full]
    accepted = torch.tensor(everything.accepted)[full]
    temperatures = fit(logits[0::2], accepted[0::2])
    ones = torch.ones_like(temperatures)
    check, outcome = logits[1::2], accepted[1::2]
    calibration = {
        "temperatures": [round(float(t), 6) for t in temperatures],
        "dataset": "held-out prompts of the demo corpus (chat, math, code, story), greedy",
        "num_samples": len(accepted),
        "ece_before": [round(e, 5) for e in errors(check, outcome, ones)],
        "ece_after": [round(e, 5) for e in errors(check, outcome, temperatures)],
    }
    write_json(settings.folder / "dspark_calibration.json", calibration)
    figures["calibration"] = calibration
    write_json(settings.folder / "figures.json", figures)
    log.write(**calibration)
    return figures
