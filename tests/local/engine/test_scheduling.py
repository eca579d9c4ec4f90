"""Schedulers and calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.calibration import CALIBRATION_FILE, Calibration, load_calibration
from dspark_local.engine.schedulers import scheduler_for
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold, verify_length
from dspark_local.engine.step_costs import StepCosts
from dspark_local.errors import CheckpointError
from dspark_local.request import SpeculationSettings

CONFIDENCES = [0.9, 0.8, 0.4, 0.95, 0.9]


def test_static_verifies_its_count_at_most_the_block_and_the_limit() -> None:
    assert verify_length(Static(3), CONFIDENCES, 9) == 3
    assert verify_length(Static(8), CONFIDENCES, 9) == 5
    assert verify_length(Static(8), CONFIDENCES, 2) == 2
    assert verify_length(Static(0), CONFIDENCES, 9) == 0


def test_off_verifies_nothing_and_wants_no_draft() -> None:
    assert verify_length(Off(), CONFIDENCES, 9) == 0
    assert Off().choose_source((), 0) == "none"
    assert Static(0).choose_source((), 0) == "none"


def test_threshold_keeps_the_prefix_before_the_first_low_confidence() -> None:
    assert verify_length(Threshold(0.5), CONFIDENCES, 9) == 2
    assert verify_length(Threshold(0.0), CONFIDENCES, 9) == 5
    assert verify_length(Threshold(0.91), CONFIDENCES, 9) == 0


def test_a_scheduler_is_never_shown_a_later_slot_than_the_one_it_decides() -> None:
    shown: list[int] = []

    class Watching(Scheduler):
        def admits(self, confidences: Sequence[float]) -> bool:
            shown.append(len(confidences))
            return len(confidences) < 3

    assert verify_length(Watching(), CONFIDENCES, 9) == 2
    assert shown == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("off", Off), ("static:3", Static), ("threshold:0.4", Threshold), ("auto", Adaptive), ("ahead", Adaptive)],
)
def test_every_mode_has_its_scheduler(text: str, kind: type) -> None:
    costs = StepCosts({1: 1.0, 6: 2.0}, {1: 0.1})
    assert isinstance(scheduler_for(SpeculationSettings.parse(text), costs, 5), kind)


def test_a_scheduler_that_weighs_costs_cannot_be_made_without_them() -> None:
    with pytest.raises(ValueError, match="what passes cost"):
        scheduler_for(SpeculationSettings.parse("auto"), None, 5)


def test_calibration_divides_the_logit_by_its_positions_temperature() -> None:
    calibrated = Calibration((2.0, 0.5)).apply([0.9, 0.9])
    logit = math.log(9.0)
    assert calibrated == pytest.approx([1 / (1 + math.exp(-logit / 2)), 1 / (1 + math.exp(-logit * 2))])


def test_calibration_survives_confidences_at_the_edge() -> None:
    low, high = Calibration((0.001, 0.001)).apply([0.0, 1.0])
    assert 0.0 <= low < 1e-6
    assert 1.0 - 1e-6 < high <= 1.0


def test_without_a_file_confidences_stay_as_they_are(tmp_path: Path) -> None:
    assert load_calibration(tmp_path, 5).apply([0.3, 0.7]) == [0.3, 0.7]


def test_a_calibration_file_is_read(tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps({"temperatures": [1.0, 1.5, 2.0], "dataset": "held out"}))
    assert load_calibration(tmp_path, 3).temperatures == (1.0, 1.5, 2.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"temperatures": [1, 2]}', "has 2 temperatures, the draft's block has 3"),
        ('{"temperatures": [1, 2, 0]}', "not above 0"),
        ('{"temperatures": [1, 2, NaN]}', "not above 0"),
        ('{"temperature": 1}', "not a calibration file"),
        ("[1, 2", "not a calibration file"),
        ('{"temperatures": null}', "not a calibration file"),
    ],
)
def test_a_wrong_calibration_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_calibration(tmp_path, 3)
