"""Reuse of the cached prefix between turns never changes what is said."""

from __future__ import annotations

import random

import pytest

from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Static
from dspark_local.engine.session import MAX_SNAPSHOTS, Session
from dspark_local.engine.task import Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from tests.fakes import FakeTarget, fake_pair

SAMPLING = SamplingSettings(temperature=0.0, max_tokens=30)


def ask(session: Session, prompt: list[int], draft_tokens: int = 4) -> Finished:
    done = list(generate(session, Task(prompt, SAMPLING, Static(draft_tokens), prefill_chunk=7)))[-1]
    assert isinstance(done, Finished)
    return done


def fresh(prompt: list[int]) -> tuple[int, ...]:
    return ask(Session(*fake_pair()), prompt).token_ids


def test_the_second_turn_computes_only_what_is_new() -> None:
    target, drafter = fake_pair()
    session = Session(target, drafter)
    first = list(range(40))
    said = ask(session, first).token_ids
    second = [*first, *said, 5, 6, 7]
    before = target.tokens_run
    session.reuse(second)
    session.append(second[session.length :], "last")
    assert target.tokens_run - before == 4  # the last decided token was in no cache, and three are new
    assert ask(session, second).token_ids == fresh(second)


def test_an_edited_question_returns_to_a_snapshot_and_answers_as_if_new() -> None:
    session = Session(*fake_pair())
    first = list(range(40))
    ask(session, first)
    edited = [*first, 9, 9, 9]
    done = ask(session, edited)
    assert done.stats.cached_tokens == 40
    assert done.token_ids == fresh(edited)


def test_a_prompt_whose_last_token_changed_still_uses_the_snapshot_after_it() -> None:
    session = Session(*fake_pair())
    first = list(range(40))
    ask(session, first)
    other = [*first[:-1], 44, 3, 3, 3]
    done = ask(session, other)
    assert done.stats.cached_tokens == 39
    assert done.token_ids == fresh(other)


def test_the_same_prompt_again_recomputes_its_last_token_only() -> None:
    session = Session(*fake_pair())
    prompt = list(range(40))
    first = ask(session, prompt)
    again = ask(session, prompt)
    assert again.stats.cached_tokens == 39
    assert again.token_ids == first.token_ids


def test_a_prompt_with_nothing_in_common_starts_afresh() -> None:
    session = Session(*fake_pair())
    ask(session, list(range(40)))
    other = list(range(20, 45))
    done = ask(session, other)
    assert done.stats.cached_tokens == 0
    assert done.token_ids == fresh(other)


def test_random_edits_over_many_turns_never_change_the_output() -> None:
    rng = random.Random(7)
    target, drafter = fake_pair(rewind_span=6)
    session = Session(target, drafter)
    history = [rng.randrange(50) for _ in range(20)]
    reused = 0
    for _ in range(60):
        done = ask(session, history, draft_tokens=rng.randrange(6))
        assert done.token_ids == fresh(history)
        reused += done.stats.cached_tokens
        history = [*history, *done.token_ids]
        if rng.random() < 0.5:
            history = history[: rng.randrange(1, len(history) + 1)]
        history = [*history, *(rng.randrange(50) for _ in range(rng.randrange(1, 6)))]
        if len(history) > 400:
            history = history[:15]
    assert reused > 1000


def test_snapshots_are_bounded() -> None:
    session = Session(*fake_pair())
    history = list(range(20))
    for _ in range(8):
        history = [*history, *ask(session, history).token_ids, 4]
    assert len(session._snapshots) <= MAX_SNAPSHOTS


def test_clearing_and_closing_give_the_sequences_back() -> None:
    target, drafter = fake_pair()
    first, second = Session(target, drafter), Session(target, drafter)
    first.append([1, 2, 3], "none")
    first.clear()
    assert first.length == 0
    with pytest.raises(RuntimeError, match="in use"):
        Session(target, drafter)
    second.close()
    Session(target, drafter)


def test_target_and_drafter_stay_at_the_same_length() -> None:
    target, drafter = fake_pair()
    assert isinstance(target, FakeTarget)
    session = Session(target, drafter)
    prompt = list(range(30))
    for task in (prompt, [*prompt[:12], 4, 4], [*prompt[:13], 1]):
        ask(session, task)
        assert target.length(session._target_sequence) == drafter.length(session._draft_sequence) == session.length
