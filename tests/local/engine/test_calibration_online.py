"""The refinement that follows outcomes while the engine works, on synthetic drafts."""

from __future__ import annotations

import random

import pytest

from dspark_local.engine.calibration import RegimeCalibration
from dspark_local.engine.calibration_online import BOUND, OnlineCalibration
from dspark_local.engine.reliability import PlayedRound, calibration_error, survivals
from dspark_local.engine.temperature_scaling import logit, sigmoid
from tests.local.engine.calibration_rounds import synthetic_rounds

K = 3


def learn(online: OnlineCalibration, rounds: list[PlayedRound]) -> None:
    for played in rounds:
        online.observe(played.confidences, played.known, played.accepted)


def test_before_any_outcome_it_is_the_base_to_the_last_bit() -> None:
    base = RegimeCalibration((1.3,) * K, (0.2,) * K)
    assert OnlineCalibration(base, K).apply([0.1, 0.5, 0.999]) == base.apply([0.1, 0.5, 0.999])


def test_it_corrects_an_overconfident_draft() -> None:
    online = OnlineCalibration(RegimeCalibration(), K)
    learn(online, synthetic_rounds(3000, K, bias=-0.7, seed=1))
    assert online.biases == pytest.approx((-0.7,) * K, abs=0.2)
    fresh = synthetic_rounds(4000, K, bias=-0.7, seed=2)
    before = calibration_error(*survivals(fresh, K, list))
    after = calibration_error(*survivals(fresh, K, online.apply))
    assert after < 0.4 * before


def test_on_a_calibrated_draft_it_stays_within_the_noise() -> None:
    for seed in range(4):
        online = OnlineCalibration(RegimeCalibration(), K)
        learn(online, synthetic_rounds(3000, K, bias=0.0, seed=seed))
        assert max(map(abs, online.biases)) < 0.2


def test_a_few_rounds_move_it_little() -> None:
    online = OnlineCalibration(RegimeCalibration(), K)
    online.observe([0.9] * K, K, 0)
    assert -0.25 < online.biases[0] < 0.0
    assert online.biases[1:] == (0.0, 0.0)


def test_it_never_moves_a_logit_by_more_than_the_bound() -> None:
    online = OnlineCalibration(RegimeCalibration(), K)
    for _ in range(2000):
        online.observe([0.95] * K, K, 0)
    assert online.biases[0] == -BOUND
    assert online.apply([0.95])[0] == pytest.approx(sigmoid(logit(0.95) - BOUND))


def test_it_learns_a_new_habit_after_a_long_time() -> None:
    online = OnlineCalibration(RegimeCalibration(), K)
    learn(online, synthetic_rounds(20_000, K, bias=0.6, seed=3))
    learn(online, synthetic_rounds(4_000, K, bias=-0.6, seed=4))
    assert online.biases[0] < -0.4


def test_only_drafts_that_were_verified_and_reached_teach() -> None:
    online = OnlineCalibration(RegimeCalibration(), K)
    online.observe([0.9] * K, 2, 2)
    assert online.biases[0] > 0.0
    assert online.biases[1] > 0.0
    assert online.biases[2] == 0.0
    online = OnlineCalibration(RegimeCalibration(), K)
    online.observe([0.9] * K, 0, 0)
    online.observe([], 0, 0)
    assert online.biases == (0.0,) * K


def test_its_state_survives_a_round_trip() -> None:
    base = RegimeCalibration((1.5,) * K, (0.1,) * K)
    online = OnlineCalibration(base, K)
    learn(online, synthetic_rounds(200, K, bias=-0.5, seed=5))
    again = OnlineCalibration(base, K, online.state())
    assert again.biases == online.biases
    for one in (online, again):
        one.observe([0.7] * K, K, 1)
    assert again.biases == online.biases


@pytest.mark.parametrize(
    "change",
    [
        {"biases": [0.0]},
        {"biases": [0.0, 0.0, 1.5]},
        {"biases": [0.0, 0.0, float("nan")]},
        {"biases": None},
        {"information": [4.0, 4.0, 0.0]},
        {"temperatures": [2.0, 2.0, 2.0]},
        {"base_biases": [0.0, 0.0, 0.5]},
    ],
)
def test_a_state_that_is_unsound_or_of_another_base_is_not_used(change: dict[str, object]) -> None:
    base = RegimeCalibration((1.5,) * K, (0.1,) * K)
    online = OnlineCalibration(base, K)
    online.observe([0.9] * K, K, 0)
    assert OnlineCalibration(base, K, online.state() | change).biases == (0.0,) * K


def test_every_position_has_its_own_bias() -> None:
    generator = random.Random(6)
    online = OnlineCalibration(RegimeCalibration(), 2)
    for _ in range(4000):
        first, second = generator.random() < 0.9, generator.random() < 0.6
        online.observe([0.8, 0.8], 2, 0 if not first else 2 if second else 1)
    assert online.biases[0] == pytest.approx(logit(0.9) - logit(0.8), abs=0.2)
    assert online.biases[1] == pytest.approx(logit(0.6) - logit(0.8), abs=0.2)
