"""Measures the shipped demo pair on held-out prompts: `python -m dspark_local.demo.measure`.

Per domain: exact answers, accepted length (tokens gained per target pass, at most block + 1) with and without the
Markov head, tokens per second with and without speculation, and over all domains the calibration error of the
confidences before and after temperature scaling. The texts are templates: the figures show that the machine works,
they are no speed-up claim for natural text.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dspark_local.demo import weights_path

if TYPE_CHECKING:
    from dspark_local.engine.generate import Task
    from dspark_local.engine.session import Session
    from dspark_local.events import RoundDone
    from dspark_models.protocols import Drafter

MAX_TOKENS = 200


@dataclass(slots=True)
class Totals:
    """Sums over the prompts of a domain, one way of decoding."""

    tokens: int = 0
    passes: int = 0
    seconds: float = 0.0
    exact: int = 0
    prompts: int = 0

    @property
    def accepted_length(self) -> float:
        """Tokens per pass; the first token of an answer belongs to the prefill."""
        return self.tokens / max(self.passes, 1)

    @property
    def tokens_per_second(self) -> float:
        """Decoding alone."""
        return self.tokens / max(self.seconds, 1e-9)


@dataclass(slots=True)
class Reliability:
    """Rounds in which the whole block was verified: (raw confidences, drafts accepted)."""

    rounds: list[tuple[tuple[float, ...], int]] = field(default_factory=list)

    def errors(self, temperatures: Sequence[float]) -> list[float]:
        """Expected calibration error of the survival of the prefix up to each position."""
        import torch

        from dspark_local.demo.scaling import errors

        raw = torch.tensor([confidences for confidences, _ in self.rounds], dtype=torch.float64)
        accepted = torch.tensor([count for _, count in self.rounds])
        return errors(torch.logit(raw, eps=1e-7), accepted, torch.tensor(temperatures, dtype=torch.float64))


def _sessions(model: Path, dtype: str) -> tuple[dict[str, Session], Drafter]:
    """Sessions for plain decoding, the draft, and the draft without its Markov bias, on one set of weights."""
    import torch

    from dspark_local.engine.session import Session
    from dspark_models import load_drafter, load_target
    from dspark_models.dspark.heads import MarkovHead

    target = load_target(model, dtype=dtype, max_sequences=3)
    drafter, ablated = load_drafter(model, target), load_drafter(model, target)
    assert drafter is not None
    assert ablated is not None
    ablated.markov = MarkovHead(drafter.markov.w1, torch.zeros_like(drafter.markov.w2))
    sessions = {"plain": Session(target), "draft": Session(target, drafter), "no_markov": Session(target, ablated)}
    return sessions, drafter


def _answer(session: Session, task: Task, totals: Totals, reliability: Reliability | None = None) -> tuple[int, ...]:
    """Run one prompt to its end and add it to the totals; returns the ids."""
    from dspark_local.engine.generate import Step, generate
    from dspark_local.events import Finished

    ids: tuple[int, ...] = ()
    rounds: list[RoundDone] = []
    session.clear()
    for event in generate(session, task):
        if isinstance(event, Step) and event.round is not None:
            rounds.append(event.round)
        if isinstance(event, Finished):
            ids = event.token_ids
            totals.tokens += event.stats.completion_tokens - 1
            totals.passes += event.stats.passes
            totals.seconds += event.stats.decode_seconds
            totals.prompts += 1
    if reliability is not None:
        # Near the end of an answer a block reaches past it, so what was kept says nothing of the draft.
        last = len(task.prompt) + len(ids) - 1
        inside = (done for done in rounds if done.position + len(done.confidences) <= last)
        reliability.rounds += [(done.confidences, done.accepted) for done in inside if done.confidences]
    return ids


def measure(
    model: Path, *, dtype: str, count: int, skip: int, temperature: float, domains: Sequence[str]
) -> Iterator[dict[str, object]]:
    """One record a domain, then one for the calibration; `count` held-out prompts a domain, after the first `skip`."""
    from tokenizers import Tokenizer

    from dspark_local.demo.heldout import held_out
    from dspark_local.demo.layout import answer_of, prompt_of
    from dspark_local.engine.calibration import load_calibration
    from dspark_local.engine.generate import Task
    from dspark_local.engine.scheduling import Off, Static
    from dspark_local.request import SamplingSettings

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    sessions, drafter = _sessions(model, dtype)
    reliability = Reliability()
    temperatures = load_calibration(model, drafter.block_size).temperatures or (1.0,) * drafter.block_size
    sampling = SamplingSettings(temperature=temperature, max_tokens=MAX_TOKENS, seed=0)
    differing = 0
    for domain in domains:
        totals = {name: Totals() for name in sessions}
        for conversation in held_out(domain, skip + count)[skip:]:
            prompt = tokenizer.encode(prompt_of(conversation), add_special_tokens=False).ids
            wanted = tuple(tokenizer.encode(answer_of(conversation), add_special_tokens=False).ids)
            plain = Task(prompt, sampling, Off(), end_ids=frozenset({1}))
            drafted = replace(plain, scheduler=Static(drafter.block_size))
            answer = _answer(sessions["plain"], plain, totals["plain"])
            totals["plain"].exact += answer == wanted
            with_draft = _answer(sessions["draft"], drafted, totals["draft"], reliability)
            _answer(sessions["no_markov"], drafted, totals["no_markov"])
            differing += with_draft != answer
        yield {
            "domain": domain,
            "prompts": count,
            "exact": round(totals["plain"].exact / count, 3),
            "accepted_length": round(totals["draft"].accepted_length, 2),
            "accepted_length_without_markov": round(totals["no_markov"].accepted_length, 2),
            "tokens_per_second_plain": round(totals["plain"].tokens_per_second, 1),
            "tokens_per_second_draft": round(totals["draft"].tokens_per_second, 1),
        }
    yield {
        "prompts_that_differ_with_speculation": differing,
        "rounds": len(reliability.rounds),
        "calibration_error_raw": _rounded(reliability.errors([1.0] * drafter.block_size)),
        "calibration_error_scaled": _rounded(reliability.errors(temperatures)),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=weights_path())
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--count", type=int, default=60, help="held-out prompts in each domain")
    parser.add_argument("--skip", type=int, default=300, help="held-out prompts to pass over: they fitted the scaling")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy; exact answers need that")
    parser.add_argument("--domains", nargs="+", default=["chat", "math", "code", "story"])
    arguments = parser.parse_args()
    records = measure(
        arguments.model,
        dtype=arguments.dtype,
        count=arguments.count,
        skip=arguments.skip,
        temperature=arguments.temperature,
        domains=arguments.domains,
    )
    for record in records:
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
