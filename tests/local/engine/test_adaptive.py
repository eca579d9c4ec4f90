"""The scheduler that `auto` is: what it chooses, what it refuses to spend, what it tells."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.scheduling import RoundOutcome, verify_length
from dspark_local.engine.step_costs import StepCosts
from dspark_local.events import DraftSource
from tests.local.engine.adaptive_rules import adaptive

SURE = [0.95] * 5


def outcome(
    source: DraftSource, confidences: Sequence[float], verified: int, tokens: int, seconds: float
) -> RoundOutcome:
    return RoundOutcome(
        source=source,
        confidences=tuple(confidences),
        own=len(confidences),
        verified=verified,
        accepted=tokens - 1,
        tokens=tokens,
        agreed=False,
        draft_seconds=0.05 if source == "draft" else 0.0,
        verify_seconds=seconds,
        rows=verified + 1,
        sequences=1,
        context=0,
    )


def play(
    rule: Adaptive, rounds: int, confidences: Sequence[float], survives: float, seed: int = 0
) -> list[DraftSource]:
    """Rounds on the rule's own curve; every draft is kept with chance `survives`, whatever was said of it."""
    rng = random.Random(0)
    sources = []
    for _ in range(rounds):
        source = rule.choose_source((), 0)
        block = confidences if source == "draft" else ()
        verified = verify_length(rule, block, 5)
        kept = 0
        while kept < verified and rng.random() < survives:
            kept += 1
        rule.observe(outcome(source, block, verified, kept + 1, rule.costs.verify_seconds(verified + 1)))
        sources.append(source)
    return sources


def test_a_good_cheap_draft_is_used_and_the_gain_is_told() -> None:
    rule = adaptive()
    sources = play(rule, 200, SURE, 0.95)
    assert sources.count("draft") > 180
    assert rule.state.phase == "on"
    assert rule.state.verified > 4.0
    assert rule.state.gain is not None
    assert rule.state.gain > 2.0


def test_longer_blocks_are_asked_for_only_where_drafting_more_slots_is_worth_it() -> None:
    rows = {rows: 1.0 + 0.05 * (rows - 1) for rows in range(1, 26)}
    cheap, dear = Adaptive(StepCosts(rows, {5: 0.05, 10: 0.06}), 5), Adaptive(StepCosts(rows, {5: 0.05, 10: 9.0}), 5)
    for rule in (cheap, dear):
        play(rule, 60, [0.99] * 5, 1.0)
    assert cheap.draft_slots(5) > 5
    assert dear.draft_slots(5) == 5


def test_where_even_a_perfect_block_loses_no_draft_pass_is_spent_and_the_cost_is_told() -> None:
    rule = adaptive(row=10.0)
    assert play(rule, 300, SURE, 1.0).count("draft") == 0
    assert rule.state.phase == "paused"
    assert rule.state.gain is not None
    assert rule.state.gain < -0.7


def test_rows_that_turn_out_cheaper_than_measured_are_found_out_in_time() -> None:
    rule = adaptive(row=1.3)
    assert rule.choose_source((), 0) == "none"
    rng = random.Random(1)
    drafted = 0
    for _ in range(6_000):
        source = rule.choose_source((), 0)
        block = SURE if source == "draft" else ()
        verified = verify_length(rule, block, 5)
        kept = sum(1 for _ in range(verified) if rng.random() < 0.95)
        rule.costs.note_verify(verified + 1, 1.0 + 0.05 * verified)
        rule.observe(outcome(source, block, verified, kept + 1, 1.0 + 0.05 * verified))
        drafted += source == "draft"
    assert drafted > 600


def test_confidences_that_promise_too_much_are_found_out_by_the_clock() -> None:
    rule = adaptive(row=0.3)
    sources = play(rule, 600, SURE, 0.05)
    assert sources[-300:].count("draft") < 15
    assert rule.state.phase == "paused"
    assert rule.state.gain is not None
    assert rule.state.gain < -0.2


def test_plain_rounds_keep_the_comparison_alive_and_stay_rare() -> None:
    sources = play(adaptive(), 2_000, SURE, 0.95)
    assert 3 < sources.count("none") < 60


def test_a_continuation_in_the_text_is_used_when_it_is_worth_more_than_the_draft() -> None:
    rule = adaptive()
    play(rule, 50, [0.7] * 5, 0.7)
    assert rule.choose_source([0.98] * 20, 0) == "lookup"
    assert rule.choose_source([0.2] * 20, 0) == "draft"


def test_without_a_draft_only_the_text_is_a_source() -> None:
    rule = adaptive(0)
    assert rule.choose_source((), 0) == "none"
    assert rule.choose_source([0.9] * 8, 0) == "lookup"


def test_admission_stops_where_a_row_costs_more_than_its_draft_brings() -> None:
    rule = adaptive(row=0.5, draft=0.01)
    rule.choose_source((), 0)
    assert verify_length(rule, [0.9, 0.8, 0.3, 0.99, 0.99], 5) == 2
    assert verify_length(rule, [0.1, 0.99, 0.99, 0.99, 0.99], 5) == 0


def test_a_shared_pass_teaches_nothing_about_what_the_conversation_alone_would_take() -> None:
    rule = adaptive()
    before = rule.rate()
    shared = outcome("draft", SURE, 5, 6, 100.0)
    for _ in range(50):
        rule.observe(RoundOutcome(**{name: getattr(shared, name) for name in shared.__slots__} | {"sequences": 4}))
    assert rule.rate() == before
    assert rule.state.gain is None


@pytest.mark.parametrize("draft", [0.0, 0.2])
def test_a_curve_with_one_point_only_does_not_stop_it(draft: float) -> None:
    rule = Adaptive(StepCosts({1: 1.0}, {1: draft} if draft else None), 5)
    assert rule.choose_source((), 0) in ("draft", "none")


def test_a_machine_that_gets_three_times_faster_does_not_close_the_gate() -> None:
    rule = adaptive(row=0.3)
    rng = random.Random(3)
    gains = []
    for round_number in range(600):
        speed = 1.0 if round_number < 150 else 3.0
        source = rule.choose_source((), 0)
        block = [0.8] * 5 if source == "draft" else ()
        verified = verify_length(rule, block, 5)
        kept = 0
        while kept < verified and rng.random() < 0.8:
            kept += 1
        seconds = (1.0 + 0.3 * verified) / speed
        rule.costs.note_verify(verified + 1, seconds)
        rule.observe(outcome(source, block, verified, kept + 1, seconds))
        gains.append(source == "draft")
    assert sum(gains[150:]) > 0.9 * 450
