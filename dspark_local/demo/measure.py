"""Measures the shipped demo pair on held-out prompts: `python -m dspark_local.demo.measure`.

Per domain: exact answers, accepted length (tokens gained per target pass, at most block + 1) with and without the
Markov head, tokens per second with and without speculation, and over all domains the calibration error of the
confidences, raw and as the regime's calibration corrects them, with the noise floor. The texts are templates: the
figures show that the machine works, they are no speed-up claim for natural text.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspark_local.demo import weights_path

if TYPE_CHECKING:
    from dspark_local.engine.calibration import RegimeCalibration
    from dspark_local.engine.reliability import PlayedRound
    from dspark_local.native import NativeBackend
    from dspark_local.request import TokenRequest

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


def _backends(model: Path, dtype: str) -> dict[str, NativeBackend]:
    """Plain decoding, the draft, and the draft without its Markov bias, on one set of weights."""
    import torch

    from dspark_local.backend import ModelInfo
    from dspark_local.native import NativeBackend
    from dspark_local.protocols.tokenizer import ChatTokenizer
    from dspark_models import load_drafter, load_target
    from dspark_models.dspark.heads import MarkovHead
    from dspark_models.dspark.v4_drafter import V4Drafter

    target = load_target(model, dtype=dtype, max_sequences=3)
    drafter, ablated = load_drafter(model, target), load_drafter(model, target)
    assert isinstance(drafter, V4Drafter)
    assert isinstance(ablated, V4Drafter)
    ablated.markov = MarkovHead(drafter.markov.w1, torch.zeros_like(drafter.markov.w2))
    tokenizer = ChatTokenizer.load(model)
    info = ModelInfo(id="demo", context_length=target.context_length, draft_block_size=drafter.block_size)
    drafters = {"plain": None, "draft": drafter, "no_markov": ablated}
    return {name: NativeBackend(target, one, tokenizer, info, max_sequences=1) for name, one in drafters.items()}


def _answer(
    backend: NativeBackend, request: TokenRequest, totals: Totals, rounds: list[PlayedRound] | None = None
) -> tuple[int, ...]:
    """Run one prompt to its end and add it to the totals, and its rounds to `rounds`; returns the ids."""
    from dspark_local.engine.reliability import PlayedRound, known_positions
    from dspark_local.events import Finished, RoundDone

    ids: tuple[int, ...] = ()
    for event in backend.complete(request, lambda: False):
        if isinstance(event, RoundDone) and rounds is not None and event.verified:
            known = known_positions(event.draft_ids, event.verified, backend.tokenizer.eos_ids)
            rounds.append(PlayedRound(event.confidences, known, event.accepted))
        if isinstance(event, Finished):
            ids = event.token_ids
            totals.tokens += event.stats.completion_tokens - 1
            totals.passes += event.stats.passes
            totals.seconds += event.stats.decode_seconds
            totals.prompts += 1
    return ids


def measure(
    model: Path, *, dtype: str, count: int, skip: int, temperature: float, domains: Sequence[str]
) -> Iterator[dict[str, object]]:
    """One record a domain, then one for the calibration; `count` held-out prompts a domain, after the first `skip`."""
    from tokenizers import Tokenizer

    from dspark_local.demo.heldout import held_out
    from dspark_local.demo.layout import answer_of, prompt_of
    from dspark_local.engine.calibration import load_calibration
    from dspark_local.request import SamplingSettings, SpeculationSettings, TokenRequest

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    backends = _backends(model, dtype)
    block_size = backends["draft"].info.draft_block_size
    static = SpeculationSettings("static", draft_tokens=block_size)
    rounds: list[PlayedRound] = []
    differing = 0
    for domain in domains:
        totals = {name: Totals() for name in backends}
        for conversation in held_out(domain, skip + count)[skip:]:
            prompt = tokenizer.encode(prompt_of(conversation), add_special_tokens=False).ids
            wanted = tuple(tokenizer.encode(answer_of(conversation), add_special_tokens=False).ids)
            sampling = SamplingSettings(temperature=temperature, max_tokens=MAX_TOKENS)
            plain = TokenRequest(tuple(prompt), sampling, SpeculationSettings("off"))
            drafted = replace(plain, speculation=static)
            answer = _answer(backends["plain"], plain, totals["plain"])
            totals["plain"].exact += answer == wanted
            with_draft = _answer(backends["draft"], drafted, totals["draft"], rounds)
            _answer(backends["no_markov"], drafted, totals["no_markov"])
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
    calibration = load_calibration(model, block_size).for_temperature(temperature)
    # Sampled answers differ by chance.
    differ = {"prompts_that_differ_with_speculation": differing} if temperature == 0.0 else {}
    yield differ | _reliability(rounds, block_size, calibration)


def _reliability(rounds: list[PlayedRound], block_size: int, calibration: RegimeCalibration) -> dict[str, Any]:
    from dspark_local.engine.reliability import errors_by_position, floors_by_position

    return {
        "rounds": len(rounds),
        "calibration_error_raw": _rounded(errors_by_position(rounds, block_size, list)),
        "calibration_error_calibrated": _rounded(errors_by_position(rounds, block_size, calibration.apply)),
        "calibration_error_noise_floor": _rounded(floors_by_position(rounds, block_size, calibration.apply)),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=weights_path())
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--count", type=int, default=60, help="held-out prompts in each domain")
    parser.add_argument("--skip", type=int, default=300, help="held-out prompts to pass over: those of the fit")
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
