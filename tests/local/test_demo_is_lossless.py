"""Greedy output of the demo pair is the same with and without speculation, token for token, in float32."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from dspark_local.demo import weights_path
from dspark_local.demo.heldout import held_out
from dspark_local.demo.layout import prompt_of
from dspark_local.engine.generate import generate
from dspark_local.engine.schedulers import scheduler_for
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings, SpeculationSettings
from dspark_models import load_drafter, load_target
from dspark_models.protocols import Drafter, Target

DOMAINS = ("chat", "math", "code", "story")
SPECULATION = (
    "static:1",
    "static:2",
    "static:3",
    "static:4",
    "static:5",
    "threshold:0.5",
    "threshold:0.9",
    "auto",
    "ahead",
)


class Pair:
    """The demo target, alone and with its draft."""

    def __init__(self, target: Target, drafter: Drafter) -> None:
        self.plain = Session(target)
        self.drafted = Session(target, drafter)
        self._expected: dict[tuple[tuple[int, ...], int], tuple[int, ...]] = {}

    def expected(self, prompt: tuple[int, ...], tokens: int) -> tuple[int, ...]:
        """Plain greedy decoding, computed once per prompt."""
        key = (prompt, tokens)
        if key not in self._expected:
            self._expected[key] = self._run(self.plain, prompt, tokens, "off")[0]
        return self._expected[key]

    def speculated(self, prompt: tuple[int, ...], tokens: int, speculation: str) -> tuple[tuple[int, ...], int]:
        """(ids, target passes) with the draft."""
        return self._run(self.drafted, prompt, tokens, speculation)

    @staticmethod
    def _run(session: Session, prompt: tuple[int, ...], tokens: int, speculation: str) -> tuple[tuple[int, ...], int]:
        session.clear()
        block = session.drafter.block_size if session.drafter is not None else 0
        # Rows cost nearly nothing and the gate never closes, so that everything there is gets drafted and verified.
        costs = StepCosts({1: 1.0, 25: 1.1}, {1: 0.01})
        scheduler = scheduler_for(SpeculationSettings.parse(speculation), costs, block)
        sampling = SamplingSettings(temperature=0.0, max_tokens=tokens, ignore_eos=True)
        *_, last = generate(session, Task(prompt, sampling, scheduler))
        assert isinstance(last, Finished)
        return last.token_ids, last.stats.passes


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = load_target(weights_path(), dtype="float32", device="cpu")
    drafter = load_drafter(weights_path(), target)
    assert drafter is not None
    return Pair(target, drafter)


def prompts(count: int) -> list[tuple[int, ...]]:
    """Held-out prompts, the domains in turn."""
    tokenizer = Tokenizer.from_file(str(weights_path() / "tokenizer.json"))
    by_domain = [held_out(domain, -(-count // len(DOMAINS))) for domain in DOMAINS]
    mixed = [conversation for group in zip(*by_domain, strict=True) for conversation in group][:count]
    return [tuple(tokenizer.encode(prompt_of(item), add_special_tokens=False).ids) for item in mixed]


@pytest.mark.parametrize("speculation", SPECULATION)
def test_a_few_prompts_give_the_same_tokens_with_every_kind_of_speculation(pair: Pair, speculation: str) -> None:
    for prompt in prompts(4):
        ids, _ = pair.speculated(prompt, 24, speculation)
        assert ids == pair.expected(prompt, 24)


def test_speculation_needs_fewer_passes_than_tokens(pair: Pair) -> None:
    for prompt in prompts(4):
        ids, passes = pair.speculated(prompt, 24, "static:5")
        assert passes < len(ids) - 1


@pytest.mark.slow
@pytest.mark.parametrize("speculation", SPECULATION)
def test_fifty_prompts_of_200_tokens_give_the_same_tokens(pair: Pair, speculation: str) -> None:
    differing = [
        prompt for prompt in prompts(50) if pair.speculated(prompt, 200, speculation)[0] != pair.expected(prompt, 200)
    ]
    assert not differing
