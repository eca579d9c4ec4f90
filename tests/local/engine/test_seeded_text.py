"""A seed means one text: with and without drafts, alone and in shared passes, and drawn from the target itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dspark_local.engine.generate import generate
from dspark_local.engine.sampling import PositionNoise
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.task import Step, Task
from dspark_local.request import SamplingSettings
from tests.fakes import fake_pair
from tests.local.engine.adaptive_rules import adaptive
from tests.local.engine.markov import PROMPT, assert_faithful, markov_pair

SETTINGS = SamplingSettings(temperature=1.0, seed=11, max_tokens=120)
SCHEDULERS: list[Callable[[], Scheduler]] = [
    *(lambda k=k: Static(k) for k in (1, 3, 5)),
    lambda: Threshold(0.5),
    adaptive,
    lambda: adaptive(ahead=True),
]


def say(scheduler: Scheduler, settings: SamplingSettings = SETTINGS) -> tuple[list[int], int]:
    """(the text, drafts kept)."""
    events = generate(Session(*fake_pair()), Task((1, 2, 3), settings, scheduler, repeatable=True))
    steps = [event for event in events if isinstance(event, Step)]
    return [t for s in steps for t in s.token_ids], sum(s.round.accepted for s in steps if s.round)


@pytest.mark.parametrize("make", SCHEDULERS)
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, temperature=0.6, top_p=0.9),
        replace(SETTINGS, repetition_penalty=1.3, frequency_penalty=0.4, min_p=0.05),
    ],
)
def test_a_seed_gives_the_same_text_with_every_kind_of_speculation(
    make: Callable[[], Scheduler], settings: SamplingSettings
) -> None:
    text, kept = say(make(), settings)
    assert text == say(Off(), settings)[0]
    assert kept > 10


def test_another_seed_gives_another_text() -> None:
    assert say(Off())[0] != say(Off(), replace(SETTINGS, seed=12))[0]


@pytest.mark.parametrize("make", [lambda: Static(3), lambda: adaptive(3)])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_seeded_tokens_follow_the_targets_distribution(make: Callable[[], Scheduler], top_p: float) -> None:
    settings = SamplingSettings(temperature=1.0, top_p=top_p, seed=7, max_tokens=8_000)
    events = generate(Session(*markov_pair()), Task(PROMPT, settings, make(), repeatable=True))
    tokens: list[int] = []
    places: list[int] = []
    for event in events:
        if isinstance(event, Step):
            tokens += event.token_ids
            places += range(len(event.token_ids))
    assert_faithful(tokens, places, settings)


def test_what_a_distribution_excludes_is_never_chosen() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.5]]).repeat(200, 1)
    assert set(PositionNoise(3).choose(probabilities, 0)) == {1, 3}


def test_close_distributions_agree_at_least_as_often_as_the_bound_says() -> None:
    noise = PositionNoise(5)
    p = torch.tensor([0.5, 0.3, 0.2]).repeat(4_000, 1)
    q = torch.tensor([0.4, 0.4, 0.2]).repeat(4_000, 1)
    agree = sum(a == b for a, b in zip(noise.choose(p, 0), noise.choose(q, 0), strict=True)) / 4_000
    assert agree > (1 - 0.1) / (1 + 0.1) - 0.02
