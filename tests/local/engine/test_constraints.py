"""A form on an answer: followed exactly, ended where it may end, and never a reason for another distribution."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dspark_local.engine.constraints import Constraint
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.task import Task
from dspark_local.errors import DsparkError, UsageError
from dspark_local.request import SamplingSettings
from tests.fakes import fake_pair
from tests.local.engine.adaptive_rules import adaptive
from tests.local.engine.forms import letters, run, spelled
from tests.local.engine.markov import PROMPT, VOCABULARY, markov_pair
from tests.local.engine.oracle import chi_square_p_value, expected_distribution

END = 49
WORDS = letters(50, END)
MARKOV = letters(VOCABULARY, VOCABULARY - 1)
GREEDY = SamplingSettings(temperature=0.0, max_tokens=150)
ENDLESS = "start: /([a-m][n-z]{2})*/"


def say(sampling: SamplingSettings, scheduler: Scheduler, lark: str, **form: object) -> tuple[list[int], int]:
    constraint = Constraint(matcher=WORDS.compile(lark), end_ids=[END], **form)  # type: ignore[arg-type]
    task = Task((1, 2, 3), sampling, scheduler, end_ids=frozenset([END]), repeatable=True, constraint=constraint)
    tokens, _, kept = run(Session(*fake_pair()), task)
    return tokens, kept


@pytest.mark.parametrize(
    "make",
    [lambda: Static(1), lambda: Static(3), lambda: Static(5), lambda: Threshold(0.5), adaptive],
)
@pytest.mark.parametrize(
    "sampling",
    [GREEDY, replace(GREEDY, temperature=1.0, top_p=0.9, seed=5), replace(GREEDY, frequency_penalty=0.3)],
)
def test_text_in_a_form_is_the_same_with_and_without_speculation(
    make: Callable[[], Scheduler], sampling: SamplingSettings
) -> None:
    sampling = replace(sampling, logit_bias={END: -100.0})
    tokens, kept = say(sampling, make(), ENDLESS)
    assert tokens == say(sampling, Off(), ENDLESS)[0]
    assert re.fullmatch(r"([a-m][n-z]{2})*", spelled(tokens))
    assert len(tokens) == 150
    assert kept > 10


@pytest.mark.parametrize(("scheduler", "top_p"), [(Off(), 1.0), (Static(3), 1.0), (Static(3), 0.8)])
def test_sampled_tokens_follow_the_targets_distribution_among_what_the_form_allows(
    scheduler: Scheduler, top_p: float
) -> None:
    """After a, b or c nothing of them; the end is banned, so that one answer gives all draws."""
    end = VOCABULARY - 1
    settings = SamplingSettings(top_p=top_p, seed=1, max_tokens=5_000, logit_bias={end: -100.0})
    constraint = Constraint(matcher=MARKOV.compile("start: /([d-g]*[a-c][d-g])*[d-g]*[a-c]?/"), end_ids=[end])
    task = Task(PROMPT, settings, scheduler, end_ids=frozenset([end]), constraint=constraint)
    tokens, places, _ = run(Session(*markov_pair()), task)
    assert len(tokens) == 5_000
    table = markov_pair()[0].table.double().numpy()
    table[:, end] -= 100.0
    table[:3, :3] = -np.inf
    rows = np.stack([expected_distribution(settings, row, (), ()) for row in table])
    previous = np.array([PROMPT[-1], *tokens[:-1]])
    drawn, place = np.array(tokens), np.array(places)
    groups = (place >= 0, *(place == here for here in set(places)), *(previous == t for t in set(tokens)))
    for group in groups:
        if group.sum() > 300:
            expected = rows[previous[group]].copy()
            expected[expected < 1e-30] = 0.0
            assert chi_square_p_value(expected, drawn[group]) > 1e-4


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_ends_where_its_form_may_end_and_only_there(seed: int) -> None:
    eager = replace(GREEDY, temperature=1.0, seed=seed, logit_bias={END: 100.0})
    tokens, _ = say(eager, Static(3), 'start: "ab" /[c-f]{3}/ ("x" | "yz")')
    assert tokens[-1] == END
    assert re.fullmatch(r"ab[c-f]{3}(x|yz)", spelled(tokens[:-1]))
    reluctant = replace(GREEDY, temperature=1.0, seed=seed, logit_bias={END: -100.0})
    assert say(reluctant, Static(3), 'start: "ab"')[0] == [0, 1, END]


def test_max_tokens_may_cut_a_form() -> None:
    assert len(say(replace(GREEDY, max_tokens=7), Static(3), ENDLESS)[0]) == 7


@pytest.mark.parametrize("scheduler", [Off(), Static(3), Static(5)])
@pytest.mark.parametrize("seed", range(6))
def test_the_form_begins_after_the_reasoning(scheduler: Scheduler, seed: int) -> None:
    """Token 48 closes the reasoning, which is free but cannot end the answer or hold token 47."""
    close, banned = 48, 47
    sampling = replace(GREEDY, temperature=1.0, seed=seed, logit_bias={close: 2.0, END: 2.0, banned: 3.0})
    form = {"begins_after": close, "banned_ids": [END, banned]}
    tokens, _ = say(sampling, scheduler, 'start: /[a-e]{12}/ "xyz"', **form)
    assert tokens == say(sampling, Off(), 'start: /[a-e]{12}/ "xyz"', **form)[0]
    place = tokens.index(close)
    assert {END, banned}.isdisjoint(tokens[:place])
    assert tokens[-1] == END
    assert re.fullmatch("[a-e]{12}xyz", spelled(tokens[place + 1 : -1]))


def test_banned_tokens_never_come_where_no_grammar_holds() -> None:
    sampling = replace(GREEDY, temperature=1.0, seed=1)
    tokens, _, kept = run(
        Session(*fake_pair()),
        Task((1, 2, 3), sampling, Static(3), repeatable=True, constraint=Constraint(banned_ids=range(5, 45))),
    )
    assert set(tokens) <= {*range(5), *range(45, 50)}
    assert kept > 10


def test_the_mask_of_a_row_depends_on_the_tokens_before_it_alone_and_leaves_no_trace() -> None:
    constraint = Constraint(matcher=WORDS.compile('start: "a" ("bc" | "de") "f"'), end_ids=[END])
    alone = [constraint.mask(ahead, 1, 50)[0] for ahead in ([], [0], [0, 3], [0, 3, 4])]
    assert [spelled(row.nonzero().flatten().tolist()) for row in alone] == ["a", "bd", "e", "f"]
    together = constraint.mask([0, 3, 4], 4, 50)
    assert torch.equal(together, torch.stack(alone))
    wrong = constraint.mask([0, 9, 4], 4, 50)
    assert torch.equal(wrong[:2], together[:2])
    assert wrong[2:].all()
    constraint.append([0, 1])
    assert spelled(constraint.mask([], 1, 50)[0].nonzero().flatten().tolist()) == "c"


def test_ids_that_pad_the_models_vocabulary_are_never_allowed() -> None:
    constraint = Constraint(matcher=WORDS.compile("start: /[a-z]*/"), end_ids=[END])
    assert not constraint.mask([], 1, 64)[0, 50:].any()


def test_a_token_outside_the_form_is_an_error_not_a_silence() -> None:
    constraint = Constraint(matcher=WORDS.compile('start: "ab"'), end_ids=[END])
    with pytest.raises(DsparkError, match="Token 5"):
        constraint.append([5])


def test_a_grammar_that_cannot_be_enforced_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="Unimplemented keys") as caught:
        WORDS.compile('start: %json {"not": {"type": "null"}}')
    assert caught.value.code == "invalid_json_schema"
