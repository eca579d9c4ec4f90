"""Longer blocks, and what is thought of their extra slots."""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.block_length import LONGEST_FACTOR, BlockLength, ExtraSlots
from dspark_local.engine.generate import generate
from dspark_local.engine.honesty import Honesty
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Step, Task
from dspark_local.events import RoundDone
from dspark_local.request import SamplingSettings
from tests.local.engine.timed_pair import TimedPair


def rounds(skill: int) -> Sequence[RoundDone]:
    """Rounds of an answer on a machine where rows and slots cost little."""
    pair = TimedPair(plain=0.1, row=0.001, slot=0.001, skill=skill, confidence=skill / 101)
    rule = Adaptive(StepCosts({1: 0.1, 25: 0.124}, {5: 0.005, 10: 0.01}), 5)
    task = Task((1, 2, 3), SamplingSettings(temperature=0.0, max_tokens=400), rule)
    events = generate(pair.session(), task, costs=rule.costs, clock=pair.clock)
    return [event.round for event in events if isinstance(event, Step) and event.round is not None]


def test_blocks_grow_while_they_are_kept_whole_and_shrink_to_the_drafts_own_size() -> None:
    length = BlockLength(5)
    for _ in range(20):
        length.note_block(length.current, length.current, pays=True)
    assert length.current == LONGEST_FACTOR * 5
    length.note_block(10, 4, pays=True)
    assert length.current == 10
    for _ in range(20):
        length.note_block(length.current, 1, pays=False)
    assert length.current == 5


def test_a_draft_that_is_always_right_is_asked_for_more_than_its_block() -> None:
    drafted = [done for done in rounds(skill=100) if done.source == "draft"]
    assert max(len(done.draft_ids) for done in drafted) >= LONGEST_FACTOR * 5
    assert max(done.accepted for done in drafted) >= LONGEST_FACTOR * 5


def test_a_draft_that_is_often_wrong_is_not() -> None:
    drafted = [len(done.draft_ids) for done in rounds(skill=30) if done.source == "draft"]
    assert sum(drafted) / len(drafted) < 5.5


def test_slots_beyond_the_block_are_trusted_as_far_as_they_kept_their_promise() -> None:
    extra = ExtraSlots()
    assert extra.apply([0.9, 0.9])[0] < 0.9
    for _ in range(100):
        extra.observe([0.9, 0.9], 2, 1)
    first, second = extra.apply([0.9, 0.9])
    assert first > 0.88
    assert second < 0.1


def test_promises_that_are_kept_within_chance_are_trusted() -> None:
    honesty = Honesty()
    assert honesty.trust == 1.0
    for kept in (3, 1, 4, 2, 3, 2) * 10:
        honesty.note(2.5, kept)
    assert honesty.trust == 1.0


def test_promises_that_fall_clearly_short_are_discounted_by_what_is_kept_of_them() -> None:
    honesty = Honesty()
    for _ in range(200):
        honesty.note(4.0, 1)
    assert abs(honesty.trust - 0.25) < 0.01
    for _ in range(200):
        honesty.note(4.0, 4)
    assert honesty.trust > 0.95


def test_keeping_more_than_was_promised_is_no_reason_to_promise_more() -> None:
    honesty = Honesty()
    for _ in range(200):
        honesty.note(1.0, 3)
    assert honesty.trust == 1.0
