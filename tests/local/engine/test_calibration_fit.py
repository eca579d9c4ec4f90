"""Calibration error, its noise floor, and fitting on rounds of synthetic drafts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from dspark_local.engine.calibration_fit import fit_regime
from dspark_local.engine.calibration_plot import reliability_svg
from dspark_local.engine.calibration_report import regime_object, regime_text
from dspark_local.engine.reliability import (
    PlayedRound,
    calibration_error,
    errors_by_position,
    known_positions,
    noise_floor,
    reliability_table,
    survivals,
)
from dspark_local.engine.temperature_scaling import fit_affine, fit_temperatures
from tests.local.engine.calibration_rounds import synthetic_rounds

K = 3


def test_the_error_of_a_constant_is_its_distance_from_the_share() -> None:
    assert calibration_error([0.8] * 100, [i < 60 for i in range(100)]) == pytest.approx(0.2)
    assert calibration_error([], []) == 0.0


def test_errors_of_one_bin_cancel_and_of_two_do_not() -> None:
    assert calibration_error([0.50, 0.52], [True, False]) == pytest.approx(0.01)
    assert calibration_error([0.1, 0.9], [True, False]) == pytest.approx(0.9)


def test_the_table_holds_every_prediction_once() -> None:
    table = reliability_table([0.0, 0.03, 0.5, 1.0], [False, True, True, True])
    assert [row.size for row in table] == [2, 1, 1]
    assert table[0].observed == 0.5
    assert table[0].predicted == pytest.approx(0.015)


def test_the_noise_floor_is_what_a_perfect_predictor_shows() -> None:
    rounds = synthetic_rounds(1500, 1, seed=3)
    predicted, outcomes = survivals(rounds, 1, list)
    floor = noise_floor(predicted)
    assert calibration_error(predicted, outcomes) == pytest.approx(floor, rel=0.5)
    assert noise_floor(predicted * 4) == pytest.approx(floor / 2, rel=0.2)
    assert noise_floor([1.0] * 10) == 0.0


def test_survival_counts_a_round_only_where_its_outcome_is_known() -> None:
    rounds = [PlayedRound((0.9, 0.5), 2, 1), PlayedRound((0.8, 0.5), 1, 1)]
    assert survivals(rounds, 1, list) == ([0.9, 0.8], [True, True])
    assert survivals(rounds, 2, list) == ([0.45], [False])


def test_positions_behind_a_drafted_end_are_not_known() -> None:
    assert known_positions([5, 6, 7], 3, {1}) == 3
    assert known_positions([5, 1, 7], 3, {1}) == 2
    assert known_positions([5, 6, 1], 2, {1}) == 2
    assert known_positions([], 0, {1}) == 0


def test_scaling_finds_the_temperature_of_an_overconfident_draft() -> None:
    rounds = synthetic_rounds(2500, K, temperature=2.5)
    temperatures = fit_temperatures(rounds, K)
    assert temperatures[0] == pytest.approx(2.5, rel=0.25)
    fresh = synthetic_rounds(4000, K, temperature=2.5, seed=1)
    before = errors_by_position(fresh, K, list)
    fit = fit_regime(rounds, K)
    assert fit.form != "identity"
    after = errors_by_position(fresh, K, fit.calibration.apply)
    assert all(a < 0.3 * b for a, b in zip(after, before, strict=True))


def test_the_affine_fit_finds_slope_and_bias() -> None:
    temperatures, biases = fit_affine(synthetic_rounds(12_000, K, temperature=1.6, bias=-0.8), K)
    assert temperatures == pytest.approx((1.6,) * K, rel=0.15)
    assert biases == pytest.approx((-0.8,) * K, abs=0.15)


def test_the_affine_fit_survives_a_draft_that_is_never_or_always_right() -> None:
    for accepted in (0, K):
        rounds = [PlayedRound((0.3, 0.999999999, 1.0), K, accepted, n) for n in range(300)]
        temperatures, biases = fit_affine(rounds, K)
        assert all(0.1 <= value <= 10.0 for value in temperatures)
        assert all(abs(value) <= 10.0 for value in biases)
    assert fit_affine([], K) == ((1.0,) * K, (0.0,) * K)


def test_a_bias_is_taken_when_the_draft_needs_one() -> None:
    fit = fit_regime(synthetic_rounds(2000, K, bias=-0.8), K)
    assert fit.form == "affine"
    assert fit.calibration.biases[0] == pytest.approx(-0.8, abs=0.2)
    assert max(fit.errors_after) < 2 * max(fit.floors)
    assert max(fit.errors_after) < 0.5 * min(fit.errors_before)


def test_a_calibrated_draft_is_left_alone() -> None:
    forms = [fit_regime(synthetic_rounds(500, K, seed=seed), K).form for seed in range(5)]
    assert forms.count("identity") >= 4


def test_rounds_of_one_half_cannot_be_fitted() -> None:
    rounds = [played._replace(prompt=4) for played in synthetic_rounds(300, K)]
    with pytest.raises(ValueError, match="one half"):
        fit_regime(rounds, K)


def test_the_report_tells_every_position_and_the_plot_is_sound_xml() -> None:
    fit = fit_regime(synthetic_rounds(1000, K, bias=-0.8), K)
    text = regime_text(0.0, fit)
    assert "temperature 0 (greedy): 1,000 rounds of 200 prompts" in text
    assert all(name in text for name in ("error, raw", "error, calibrated", "noise floor", "bias"))
    told = regime_object(fit)
    assert sum(row["count"] for row in told["reliability_after"]) == 1000 * K
    tree = ElementTree.fromstring(reliability_svg({0.0: fit, 1.0: fit}))
    circles = tree.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2 * (len(fit.table_before) + len(fit.table_after))
    assert all(0 <= float(circle.get("cx", "-1")) <= 220 for circle in circles)
