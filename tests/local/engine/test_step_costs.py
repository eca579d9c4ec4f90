"""The cost curve: what was measured stays, real passes move it, and nothing else does."""

from __future__ import annotations

import json
import math

import pytest

from dspark_local.engine.step_costs import Curve, StepCosts

STAIRS = {1: 1.0, 2: 1.1, 3: 2.0, 4: 2.1, 6: 2.3}


def test_measured_points_are_kept_with_their_steps_and_the_others_lie_between() -> None:
    curve = Curve(STAIRS)
    assert [curve.seconds(rows) for rows in (1, 2, 3, 4)] == [1.0, 1.1, 2.0, 2.1]
    assert curve.seconds(5) == pytest.approx(2.2)
    assert curve.seconds(8) == pytest.approx(2.5)


def test_one_point_alone_is_a_flat_curve() -> None:
    assert Curve({1: 0.5}).seconds(9) == 0.5


def test_beyond_the_last_point_a_curve_never_falls() -> None:
    assert Curve({1: 1.0, 2: 0.9}).seconds(9) == pytest.approx(0.9)


def test_a_machine_that_gets_slower_moves_every_point() -> None:
    curve = Curve(STAIRS)
    for _ in range(100):
        curve.note(2, 2.2)
    assert curve.seconds(2) == pytest.approx(2.2, rel=0.02)
    assert curve.seconds(1) > 1.4


def test_a_point_that_was_measured_wrongly_is_mended_while_the_others_are_used_too() -> None:
    curve = Curve({1: 1.0, 2: 1.1, 3: 9.0})
    for _ in range(300):
        curve.note(1, 1.0)
        curve.note(2, 1.1)
        curve.note(3, 1.2)
    assert [curve.seconds(rows) for rows in (1, 2, 3)] == pytest.approx([1.0, 1.1, 1.2], rel=0.03)


def test_a_width_never_seen_becomes_a_point_of_its_own() -> None:
    curve = Curve({1: 1.0, 4: 1.3})
    for _ in range(300):
        curve.note(1, 1.0)
        curve.note(2, 2.0)
        curve.note(4, 1.3)
    assert curve.seconds(2) == pytest.approx(2.0, rel=0.05)
    assert list(curve.points) == [1, 2, 4]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_times_that_cannot_be_change_nothing(seconds: float) -> None:
    curve = Curve(STAIRS)
    curve.note(2, seconds)
    assert curve.seconds(2) == 1.1


def test_one_pass_that_took_forever_moves_the_curve_little() -> None:
    curve = Curve(STAIRS)
    curve.note(2, 1_000.0)
    assert curve.seconds(2) < 1.4


@pytest.mark.parametrize("points", [{}, {0: 1.0}, {1: 0.0}, {1: math.nan}])
def test_a_curve_refuses_points_that_cannot_be(points: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="points from 1 up"):
        Curve(points)


def test_long_contexts_have_a_curve_of_their_own_that_starts_from_the_nearest() -> None:
    costs = StepCosts(STAIRS, {1: 0.2})
    for _ in range(200):
        costs.note_verify(1, 4.0, context=50_000)
        costs.note_draft(5, 0.8, context=50_000)
    assert costs.verify_seconds(1, context=100) == 1.0
    assert costs.verify_seconds(1, context=50_000) == pytest.approx(4.0, rel=0.02)
    assert costs.verify_seconds(1, context=60_000) == costs.verify_seconds(1, context=50_000)
    assert costs.draft_seconds(5, context=100) == 0.2
    assert costs.draft_seconds(5, context=50_000) == pytest.approx(0.8, rel=0.02)


def test_passes_of_several_sequences_teach_what_a_sequence_adds_and_leave_the_curve() -> None:
    costs = StepCosts(STAIRS)
    for _ in range(300):
        costs.note_verify(4, 2.1 * 1.3, sequences=2)
    assert costs.verify_seconds(4) == 2.1
    assert costs.verify_seconds(4, sequences=2) == pytest.approx(2.1 * 1.3, rel=0.02)
    assert costs.verify_seconds(4, sequences=3) == pytest.approx(2.1 * 1.6, rel=0.02)


def test_without_a_draft_drafting_costs_nothing_until_one_has_run() -> None:
    costs = StepCosts(STAIRS)
    assert costs.draft_seconds(5) == 0.0
    costs.note_draft(5, 0.3)
    assert costs.draft_seconds(5) == 0.3


def test_costs_survive_a_round_trip_through_json() -> None:
    costs = StepCosts(STAIRS, {1: 0.2})
    costs.note_verify(1, 1.5)
    again = StepCosts.from_dict(json.loads(json.dumps(costs.as_dict())))
    assert [again.verify_seconds(rows) for rows in range(1, 8)] == pytest.approx(
        [costs.verify_seconds(rows) for rows in range(1, 8)]
    )
    assert again.draft_seconds(5) == costs.draft_seconds(5)
