"""Stage "figures": how well the finished pair answers and how much of a draft is accepted."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from dspark_local.demo.corpus import DOMAINS
from dspark_local.demo.draft_stage import load_draft
from dspark_local.demo.exactness import score
from dspark_local.demo.frozen import load_target
from dspark_local.demo.generate import greedy
from dspark_local.demo.heldout import held_out
from dspark_local.demo.layout import Conversation, answer_of, prompt_of
from dspark_local.demo.rounds import replay
from dspark_local.demo.setup import Log, Settings, make_tokenizer
from dspark_models.training.checkpoint import write_json
from dspark_models.training.shape import Shape
from dspark_models.training.target import Target


def greedy_answers(
    target: Target, tokenizer: Tokenizer, items: list[Conversation], exact: list[bool], limit: int
) -> tuple[list[list[int]], list[list[int]]]:
    """(prompts, greedy answers of at most ``limit`` tokens); where the reference is the answer it is not decoded."""
    prompts = [tokenizer.encode(prompt_of(i), add_special_tokens=False).ids for i in items]
    answers = [tokenizer.encode(answer_of(i), add_special_tokens=False).ids for i in items]
    missing = [i for i, ok in enumerate(exact) if not ok]
    for i, answer in zip(missing, greedy(target, [prompts[i] for i in missing], limit) if missing else [], strict=True):
        answers[i] = answer
    return prompts, answers


def figures(settings: Settings, shape: Shape, count: int) -> dict[str, Any]:
    """Write ``figures.json``; ``count`` prompts per domain."""
    tokenizer = make_tokenizer(settings, shape)
    target, draft = load_target(settings, shape), load_draft(settings, shape)
    log = Log(settings.folder, "figures")
    out: dict[str, Any] = {}
    for domain in DOMAINS:
        # Stories are decoded token by token, so a smaller sample has to do.
        items = held_out(domain, count if domain != "story" else max(count // 5, 1))
        loss, top, exact = score(target, tokenizer, items)
        prompts, answers = greedy_answers(target, tokenizer, items, exact, 24 if settings.smoke else 160)
        rounds = replay(target, draft, prompts, answers)
        bare = replay(target, draft, prompts, answers, markov=False)
        out[domain] = {
            "prompts": len(items),
            "loss": round(loss, 4),
            "top1": round(top, 4),
            "exact": round(sum(exact) / len(exact), 4),
            "accepted_length": round(rounds.accepted_length, 3),
            "accepted_length_without_markov": round(bare.accepted_length, 3),
            "tokens_per_round": round(rounds.tokens_per_round, 3),
            "rounds": len(rounds.accepted),
        }
        log.write(domain=domain, **out[domain])
    write_json(settings.folder / "figures.json", out)
    return out
