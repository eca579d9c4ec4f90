"""Bias on the target's logits: what it forces, bans and shifts, the same with every kind of speculation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dspark_local.engine.generate import generate
from dspark_local.engine.sampling import LogitsProcessor
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.task import Task
from dspark_local.errors import UsageError
from dspark_local.request import SamplingSettings
from tests.fakes import fake_pair
from tests.local.engine.forms import run
from tests.local.engine.markov import PROMPT, VOCABULARY, markov_pair
from tests.local.engine.oracle import chi_square_p_value, expected_distribution

GREEDY = SamplingSettings(temperature=0.0, max_tokens=150)
BIAS = {3: 4.0, 7: -6.0, 11: 1.5, 40: 4.0}


def say(sampling: SamplingSettings, scheduler: Scheduler) -> tuple[list[int], int]:
    tokens, _, kept = run(Session(*fake_pair()), Task((1, 2, 3), sampling, scheduler, repeatable=True))
    return tokens, kept


@pytest.mark.parametrize("scheduler", [Static(1), Static(3), Static(5), Threshold(0.5)])
@pytest.mark.parametrize(
    "sampling",
    [
        replace(GREEDY, logit_bias=BIAS),
        replace(GREEDY, logit_bias=BIAS, repetition_penalty=1.3, frequency_penalty=0.2),
        replace(GREEDY, logit_bias=BIAS, temperature=0.8, top_p=0.9, seed=4),
    ],
)
def test_biased_text_is_the_same_with_and_without_speculation(scheduler: Scheduler, sampling: SamplingSettings) -> None:
    tokens, kept = say(sampling, scheduler)
    assert tokens == say(sampling, Off())[0]
    assert tokens != say(replace(sampling, logit_bias={}), Off())[0]
    assert kept > 10


@pytest.mark.parametrize("sampling", [GREEDY, replace(GREEDY, temperature=1.0, seed=2)])
def test_a_bias_of_100_makes_a_token_the_only_one_and_of_minus_100_bans_it(sampling: SamplingSettings) -> None:
    assert set(say(replace(sampling, logit_bias={9: 100.0}), Static(3))[0]) == {9}
    usual = set(say(sampling, Static(3))[0])
    banned = dict.fromkeys(sorted(usual)[:5], -100.0)
    assert set(banned).isdisjoint(say(replace(sampling, logit_bias=banned), Static(3))[0])


@pytest.mark.parametrize(("scheduler", "top_p"), [(Off(), 1.0), (Static(3), 1.0), (Static(3), 0.8)])
def test_sampled_tokens_follow_the_biased_distribution_at_every_place_of_a_block(
    scheduler: Scheduler, top_p: float
) -> None:
    bias = {0: 1.2, 5: -0.9}
    settings = SamplingSettings(top_p=top_p, seed=1, max_tokens=5_000, logit_bias=bias)
    tokens, places, _ = run(Session(*markov_pair()), Task(PROMPT, settings, scheduler))
    table = markov_pair()[0].table.double().numpy()
    for token, value in bias.items():
        table[:, token] += value
    rows = np.stack([expected_distribution(settings, row, (), ()) for row in table])
    previous = np.array([PROMPT[-1], *tokens[:-1]])
    drawn, place = np.array(tokens), np.array(places)
    for group in (place >= 0, *(place == here for here in set(places)), *(previous == t for t in range(VOCABULARY))):
        if group.sum() > 300:
            assert chi_square_p_value(rows[previous[group]], drawn[group]) > 1e-4


def test_bias_comes_after_the_penalties() -> None:
    settings = SamplingSettings(repetition_penalty=2.0, logit_bias={0: 3.0})
    row = LogitsProcessor(settings, [0]).adjusted(torch.tensor([[1.0, 1.0]]))
    assert row.tolist() == [[3.5, 1.0]]


def test_logits_of_the_model_are_left_as_they_are() -> None:
    logits = torch.zeros(1, 4)
    LogitsProcessor(SamplingSettings(logit_bias={2: 5.0}), []).best(logits)
    assert logits.tolist() == [[0.0] * 4]


def test_a_token_that_the_model_does_not_have_cannot_be_biased() -> None:
    with pytest.raises(UsageError, match="token 50"):
        list(generate(Session(*fake_pair()), Task((1, 2), replace(GREEDY, logit_bias={50: 1.0}))))


@pytest.mark.parametrize("bias", [{1: 100.5}, {1: float("nan")}, {-1: 1.0}])
def test_a_bias_out_of_range_is_refused(bias: dict[int, float]) -> None:
    with pytest.raises(UsageError, match="logit_bias"):
        SamplingSettings(logit_bias=bias)
