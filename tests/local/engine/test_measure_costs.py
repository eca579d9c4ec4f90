"""Measuring what passes cost, and remembering it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.engine.calibration import Calibration
from dspark_local.engine.cost_store import CostStore
from dspark_local.engine.measure_costs import measure_costs
from dspark_local.engine.speculation import Speculation
from dspark_local.engine.step_costs import StepCosts
from dspark_local.request import SpeculationSettings
from tests.local.engine.timed_pair import TimedPair


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_curve_is_what_passes_take_and_the_session_is_left_empty() -> None:
    pair = TimedPair()
    session = pair.session()
    costs = measure_costs(session, clock=pair.clock)
    for rows in (1, 2, 3, 6, 9, 25):
        assert costs.verify_seconds(rows) == pytest.approx(0.1 + 0.03 * (rows - 1))
    assert costs.draft_seconds(5) == pytest.approx(0.1)
    assert costs.draft_seconds(10) == pytest.approx(0.2)
    assert session.length == 0


def test_measuring_takes_about_its_budget() -> None:
    pair = TimedPair(plain=0.05)
    measure_costs(pair.session(), clock=pair.clock, budget=2.0)
    assert 2.0 < pair.now < 12.0


def test_a_slow_model_is_measured_at_its_ends_only() -> None:
    pair = TimedPair(plain=30.0, row=5.0)
    costs = measure_costs(pair.session(), clock=pair.clock)
    assert pair.target.passes <= 4
    assert costs.verify_seconds(6) == pytest.approx(55.0)
    assert costs.verify_seconds(1) == pytest.approx(30.0)


def test_no_verify_pass_is_wider_than_what_the_target_can_take_back() -> None:
    pair = TimedPair(rewind_span=4)
    costs = measure_costs(pair.session(), clock=pair.clock)
    assert [int(rows) for rows in costs.as_dict()["verify_seconds_by_rows"]] == [1, 2, 3, 4]


def test_costs_are_remembered_by_model_and_placement(home: Path) -> None:
    CostStore("model-a", "cpu, 2 threads").save(StepCosts({1: 0.5, 6: 0.9}, {5: 0.1}))
    known = CostStore("model-a", "cpu, 2 threads").load()
    assert known is not None
    assert known.verify_seconds(6) == 0.9
    assert CostStore("model-a", "cpu, 1 threads").load() is None
    assert CostStore("model-b", "cpu, 2 threads").load() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"verify_seconds_by_rows": {"1": "x"}}', '{"a": 1}'])
def test_a_damaged_record_is_passed_over(home: Path, content: str) -> None:
    store = CostStore("model-a", "cpu")
    store.save(StepCosts({1: 0.5}))
    (record,) = (home / "costs").iterdir()
    record.write_text(content)
    assert store.load() is None


def test_a_file_in_the_way_of_the_folder_is_passed_over(home: Path) -> None:
    home.mkdir()
    (home / "costs").write_text("in the way")
    store = CostStore("model-a", "cpu")
    store.save(StepCosts({1: 0.5}))
    assert store.load() is None


def test_costs_are_measured_once_and_a_conversation_keeps_its_scheduler(home: Path) -> None:
    pair = TimedPair()
    speculation = Speculation(5, Calibration(), cost_store=CostStore("model", "here"))
    costs = speculation.costs(pair.session)
    measured = pair.target.passes
    assert speculation.costs(pair.session) is costs
    assert Speculation(5, Calibration(), cost_store=CostStore("model", "here")).costs(pair.session).as_dict()
    assert pair.target.passes == measured

    session, settings = pair.session(), SpeculationSettings.parse("auto")
    first = speculation.equip(session, settings, 0.0, costs)
    assert speculation.equip(session, settings, 0.0, costs).scheduler is first.scheduler
    assert speculation.equip(session, settings, 1.0, costs).scheduler is not first.scheduler
    assert speculation.equip(pair.session(), settings, 0.0, costs).scheduler is not first.scheduler
