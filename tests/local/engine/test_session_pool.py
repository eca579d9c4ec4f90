"""Which sequence a prompt is answered in, and what is forgotten for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Off, Static
from dspark_local.engine.session import Session, verify_together
from dspark_local.engine.session_pool import SessionPool
from dspark_local.engine.task import Step, Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from tests.fakes import FakeDrafter, FakeTarget, random_table


def new_pool(capacity: int = 3) -> tuple[FakeTarget, SessionPool]:
    target = FakeTarget(random_table(997, 50, 1), max_sequences=capacity)
    return target, SessionPool(target, FakeDrafter(target, random_table(991, 50, 2)), capacity)


def answer(session: Session, prompt: Sequence[int]) -> Finished:
    *_, done = generate(session, Task(prompt, SamplingSettings(temperature=0.0, max_tokens=10), Off()))
    assert isinstance(done, Finished)
    return done


def talk(pool: SessionPool, prompt: Sequence[int], name: str | None = None, *, landmark: int = 0) -> Finished:
    session = pool.take(prompt, conversation_id=name, drafting=True)
    session.landmark = landmark
    done = answer(session, prompt)
    pool.give_back(session)
    return done


A, B, C, D = ([first] * 40 for first in (1, 2, 3, 4))


def test_a_conversation_finds_its_own_sequence_without_a_name() -> None:
    _, pool = new_pool()
    first = {name: talk(pool, prompt) for name, prompt in (("a", A), ("b", B), ("c", C))}
    again = talk(pool, [*A, *first["a"].token_ids, 9, 9])
    assert again.stats.cached_tokens >= len(A)
    assert talk(pool, [*C, *first["c"].token_ids, 8]).stats.cached_tokens >= len(C)
    assert talk(pool, [*B, *first["b"].token_ids, 8]).stats.cached_tokens >= len(B)


def test_the_sequence_that_was_unused_for_longest_gives_way() -> None:
    _, pool = new_pool()
    for prompt in (A, B, C):
        talk(pool, prompt)
    talk(pool, [*A, 7])
    talk(pool, D)
    assert talk(pool, [*A, 7, 7]).stats.cached_tokens >= len(A)
    assert talk(pool, [*C, 7]).stats.cached_tokens >= len(C)
    assert talk(pool, [*B, 7]).stats.cached_tokens == 0


def test_a_beginning_that_all_prompts_share_costs_no_conversation_its_cache() -> None:
    _, pool = new_pool()
    first = [1, 2, 3, *A]
    done = talk(pool, first)
    talk(pool, [1, 2, 3, *B])
    assert talk(pool, [*first, *done.token_ids, 5]).stats.cached_tokens >= len(first)


def test_a_conversation_that_begins_anew_keeps_its_sequence() -> None:
    target, pool = new_pool()
    talk(pool, A, "one")
    talk(pool, B, "one")
    assert len(target._caches) == 1


def test_instructions_shared_by_many_conversations_are_read_once() -> None:
    _, pool = new_pool(1)
    instructions = [*A, *B, *C]
    talk(pool, [*instructions, *[5] * 60], landmark=len(instructions))
    for turn in range(6):
        done = talk(pool, [*instructions, turn, *[6] * 50], landmark=len(instructions))
        assert done.stats.cached_tokens == len(instructions)
        assert done.token_ids == talk(new_pool()[1], [*instructions, turn, *[6] * 50]).token_ids


def test_instructions_stay_at_hand_however_long_the_conversation_got() -> None:
    _, pool = new_pool(1)
    instructions = [*A, *B]
    prompt = [*instructions, *[5] * 30]
    for turn in range(6):
        prompt += [*talk(pool, prompt, landmark=len(instructions)).token_ids, *[turn] * 30]
    assert talk(pool, [*instructions, 9], landmark=len(instructions)).stats.cached_tokens == len(instructions)


def test_a_copy_can_be_undone_no_further_than_its_source_could() -> None:
    target, _ = new_pool()
    source, copy = Session(target), Session(target)
    source.append(A, "none")
    verify_together([(source, [7, 8, 9, 1, 2, 3])])
    source.settle(1)
    source.remember()
    copy.branch(source, [*A, 7, 5])
    assert copy.length == len(A) + 1
    near = [*A[:-4], 6, 6]
    assert copy.reusable(near) == 0  # five more rows were overwritten than the copy is long
    fresh = answer(Session(target), near)
    assert answer(copy, near).token_ids == fresh.token_ids


@pytest.mark.parametrize("chunk", [1, 7, 119, 120, 121, 500])
def test_a_landmark_changes_no_token_wherever_the_chunks_end(chunk: int) -> None:
    prompt = [*A, *B, *C, 5, 6]
    target, _ = new_pool()
    session = Session(target)
    session.landmark = 120
    made = Task(prompt, SamplingSettings(temperature=0.0, max_tokens=30), Off(), prefill_chunk=chunk)
    *_, done = generate(session, made)
    assert isinstance(done, Finished)
    session.landmark = 0
    assert session.reuse([*prompt[:120], *[9] * 9]) == 120
    fresh = Session(target)
    *_, plain = generate(fresh, Task(prompt, made.sampling, Off()))
    assert isinstance(plain, Finished)
    assert done.token_ids == plain.token_ids


def test_instructions_are_copied_from_a_conversation_that_is_under_way() -> None:
    target, pool = new_pool()
    instructions = [*A, *B, *C]
    first = [*instructions, *[5] * 60]
    expected = talk(new_pool()[1], first).token_ids
    busy = pool.take(first, drafting=True)
    busy.landmark = len(instructions)
    running = generate(busy, Task(first, SamplingSettings(temperature=0.0, max_tokens=10), Static(2)))
    said: list[int] = []
    while len(said) < 4:
        event = next(running)
        said += event.token_ids if isinstance(event, Step) else ()
    other = [*instructions, *[6] * 30]
    done = talk(pool, other, landmark=len(instructions))
    assert done.stats.cached_tokens == len(instructions)
    assert done.token_ids == talk(new_pool()[1], other).token_ids
    *_, end = running
    assert isinstance(end, Finished)
    assert end.token_ids == expected
    pool.give_back(busy)
    assert len(target._caches) == 2


def test_a_new_conversation_with_the_same_instructions_spares_the_old_one() -> None:
    _, pool = new_pool()
    instructions = [*A, *B]
    first = [*instructions, *[5] * 60]
    done = talk(pool, first, landmark=len(instructions))
    assert talk(pool, [*instructions, *[6] * 60], landmark=80).stats.cached_tokens == len(instructions)
    assert talk(pool, [*first, *done.token_ids, 5]).stats.cached_tokens >= len(first)


def test_a_conversation_whose_reasoning_was_dropped_takes_no_second_sequence() -> None:
    target, pool = new_pool()
    prompt = [*A, *B, *C]
    for turn in range(4):
        talk(pool, [*prompt, *[turn] * 40], landmark=len(A))
        prompt += [turn] * 40
        assert len(target._caches) == 1
        pool._places[0].session.append([9] * 60, "none")  # what the next prompt leaves out


def test_one_that_answers_is_left_alone_and_more_than_there_are_is_refused() -> None:
    target, pool = new_pool(2)
    first, second = pool.take(A), pool.take(A)
    assert first is not second
    assert pool.busy == 2
    with pytest.raises(RuntimeError, match="all 2"):
        pool.take(B)
    pool.give_back(first)
    assert pool.take(B) is not second
    pool.close()
    assert target._caches == {}


def test_a_session_whose_answer_failed_remembers_nothing() -> None:
    target, pool = new_pool()
    session = pool.take(A)
    answer(session, A)
    pool.give_back(session, is_sound=False)
    assert target._caches == {}
    assert talk(pool, [*A, 1]).stats.cached_tokens == 0
