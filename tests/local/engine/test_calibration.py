"""Calibration files and the regimes in them."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from dspark_local.engine.calibration import (
    CALIBRATION_FILE,
    Calibration,
    RegimeCalibration,
    load_calibration,
    parse_calibration,
)
from dspark_local.engine.calibration_file import as_text, merged, regime_entry, write_document
from dspark_local.engine.calibration_fit import FittedRegime
from dspark_local.engine.calibration_store import OnlineStore, draft_key, local_folder
from dspark_local.engine.temperature_scaling import sigmoid
from dspark_local.errors import CheckpointError, DsparkError


def fitted(rounds: int, temperature: float = 2.0, bias: float = 0.5) -> FittedRegime:
    """A regime of a block of 2."""
    return FittedRegime(
        calibration=RegimeCalibration((temperature, temperature), (bias, bias)),
        form="affine",
        scaling=(3.0, 3.0),
        gains=(3.0, 3.0),
        num_rounds=rounds,
        num_prompts=rounds // 10,
        errors_before=(0.1, 0.1),
        errors_after=(0.01, 0.01),
        scaling_errors=(0.02, 0.02),
        floors=(0.009, 0.009),
        table_before=(),
        table_after=(),
    )


def document(**changes: Any) -> dict[str, Any]:
    base = {
        "temperatures": [1.0, 2.0],
        "regimes": {
            "0": {"temperatures": [1.0, 1.0], "biases": [1.0, 0.0]},
            "1": {"temperatures": [2.0, 2.0], "biases": [0.0, 0.0]},
        },
    }
    return base | changes


def parsed(content: dict[str, Any]) -> Calibration:
    return parse_calibration(content, Path("file"), 2)


def test_a_regime_divides_the_logit_and_adds_its_bias() -> None:
    logit = math.log(9.0)
    calibrated = RegimeCalibration((2.0, 0.5), (0.3, -1.0)).apply([0.9, 0.9])
    assert calibrated == pytest.approx([sigmoid(logit / 2 + 0.3), sigmoid(logit * 2 - 1.0)])


def test_the_identity_leaves_confidences_as_they_are() -> None:
    assert Calibration().for_temperature(0.7).apply([0.25, 1.0]) == [0.25, 1.0]


def test_a_shorter_block_uses_the_first_positions() -> None:
    assert len(RegimeCalibration((2.0, 2.0), (0.0, 0.0)).apply([0.9])) == 1


@pytest.mark.parametrize(("temperature", "first"), [(0.0, 1.0), (0.4, 1.0), (0.5, 1.0), (0.6, 2.0), (1.7, 2.0)])
def test_a_request_uses_the_nearest_regime_and_the_lower_of_two(temperature: float, first: float) -> None:
    assert parsed(document()).for_temperature(temperature).temperatures[0] == first


def test_a_file_without_regimes_serves_every_temperature() -> None:
    calibration = parsed({"temperatures": [1.5, 2.0], "dataset": "somebody's"})
    assert calibration.for_temperature(0.0) == calibration.for_temperature(1.0) == RegimeCalibration((1.5, 2.0))


def test_a_regime_without_biases_has_none() -> None:
    calibration = parsed(document(regimes={"1": {"temperatures": [2.0, 2.0]}}))
    assert calibration.for_temperature(1.0).apply([0.9, 0.9]) == RegimeCalibration((2.0, 2.0)).apply([0.9, 0.9])


@pytest.mark.parametrize(
    ("regimes", "message"),
    [
        ({"hot": {"temperatures": [1, 1]}}, "not a calibration file"),
        ({"1": {"biases": [1, 1]}}, "not a calibration file"),
        ([1, 2], "not a calibration file"),
        ({"1": {"temperatures": [1]}}, "has 1 temperatures, the draft's block has 2"),
        ({"1": {"temperatures": [1, -1]}}, "not above 0"),
        ({"1": {"temperatures": [1, 1], "biases": [0]}}, "needs 2 finite biases"),
        ({"1": {"temperatures": [1, 1], "biases": [0, math.inf]}}, "needs 2 finite biases"),
    ],
)
def test_a_wrong_regime_is_named(regimes: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parsed(document(regimes=regimes))


def test_a_calibration_made_here_is_used_before_the_one_beside_the_draft(tmp_path: Path) -> None:
    draft, here = tmp_path / "draft", tmp_path / "here"
    draft.mkdir()
    (draft / CALIBRATION_FILE).write_text('{"temperatures": [1, 1]}')
    assert load_calibration(draft, 2, here).temperatures == (1.0, 1.0)
    here.mkdir()
    (here / CALIBRATION_FILE).write_text('{"temperatures": [2, 2]}')
    assert load_calibration(draft, 2, here).temperatures == (2.0, 2.0)
    assert load_calibration(draft, 2).temperatures == (1.0, 1.0)


def test_a_written_file_reads_back_and_keeps_lists_on_one_line(tmp_path: Path) -> None:
    new, _ = merged(None, {0.6: fitted(500)}, default=1.0, dataset="some", replace=False)
    path = write_document(new, tmp_path, None)
    calibration = load_calibration(tmp_path, 2)
    assert calibration.for_temperature(1.0) == RegimeCalibration((2.0, 2.0), (0.5, 0.5))
    assert '"temperatures": [3.0, 3.0]' in path.read_text()
    assert json.loads(as_text(new)) == new


def test_the_top_level_is_the_plain_scaling_of_the_regime_nearest_to_the_default() -> None:
    fits = {0.0: fitted(400), 1.0: fitted(300)}
    new, _ = merged(None, fits, default=0.9, dataset="some prompts", replace=False)
    assert new["temperatures"] == [3.0, 3.0]
    assert new["num_samples"] == 300
    assert new["ece_after"] == [0.02, 0.02]
    assert new["dataset"] == "some prompts, temperature 1"
    assert new["regimes"]["0"] == regime_entry(fits[0.0])


def test_fewer_rounds_do_not_replace_more_unless_asked_to() -> None:
    old, _ = merged(None, {1.0: fitted(5000)}, default=1.0, dataset="long", replace=False)
    kept, remarks = merged(old, {1.0: fitted(300, bias=0.1)}, default=1.0, dataset="short", replace=False)
    assert kept == old
    assert all("5,000 rounds stay, 300 are fewer" in remark for remark in remarks)
    replaced, remarks = merged(old, {1.0: fitted(300, bias=0.1)}, default=1.0, dataset="short", replace=True)
    assert replaced["regimes"]["1"]["biases"] == [0.1, 0.1]
    assert replaced["num_samples"] == 300
    assert all("300 rounds replace 5,000" in remark for remark in remarks)


def test_regimes_that_were_not_measured_and_strangers_keys_stay() -> None:
    old = document(note="mine")
    new, _ = merged(old, {0.6: fitted(300)}, default=1.0, dataset="some", replace=False)
    assert set(new["regimes"]) == {"0", "0.6", "1"}
    assert new["regimes"]["1"] == old["regimes"]["1"]
    assert new["note"] == "mine"
    assert new["temperatures"] == old["temperatures"]


def test_a_directory_that_cannot_take_the_file_sends_it_to_the_state_folder(tmp_path: Path) -> None:
    draft, here = tmp_path / "draft", tmp_path / "state" / "here"
    (draft / CALIBRATION_FILE).mkdir(parents=True)  # works for root too, unlike permissions
    assert write_document(document(), draft, here).parent == here
    assert load_calibration(draft, 2, here).temperatures == (1.0, 2.0)


def test_without_a_folder_that_takes_it_the_file_is_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("draft", "here"):
        (tmp_path / name).write_text("a file, no folder")
    with pytest.raises(DsparkError, match=r"draft.*here") as caught:
        write_document(document(), tmp_path / "draft", tmp_path / "here")
    assert "DSPARK_HOME" in caught.value.hint


def test_a_file_that_is_used_from_the_state_folder_is_replaced_there(tmp_path: Path) -> None:
    draft, here = tmp_path / "draft", tmp_path / "here"
    for folder in (draft, here):
        folder.mkdir()
        (folder / CALIBRATION_FILE).write_text('{"temperatures": [1, 1]}')
    assert write_document(document(), draft, here).parent == here
    assert load_calibration(draft, 2, here).temperatures == (1.0, 2.0)


def test_a_draft_that_was_replaced_has_another_key(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"abc")
    first = draft_key(tmp_path)
    assert first == draft_key(tmp_path)
    (tmp_path / CALIBRATION_FILE).write_text("{}")
    assert first == draft_key(tmp_path)
    weights.write_bytes(b"abcd")
    assert first != draft_key(tmp_path)
    assert first.startswith(tmp_path.name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def online_file(draft: Path) -> Path:
    folder = local_folder(draft)
    assert folder is not None
    return folder.with_name(folder.name + ".json")


def test_what_was_learnt_survives_a_restart_by_regime(home: Path, draft: Path) -> None:
    calibration = parsed(document())
    store = OnlineStore(draft, 2)
    for _ in range(50):
        store.for_temperature(calibration, 0.9).observe([0.9, 0.9], 2, 0)
    store.save()
    learnt = store.for_temperature(calibration, 1.0).biases
    assert learnt[0] < -0.3
    again = OnlineStore(draft, 2)
    assert again.for_temperature(calibration, 1.0).biases == learnt
    assert again.for_temperature(calibration, 0.0).biases == (0.0, 0.0)


def test_a_new_calibration_file_starts_the_refinement_afresh(home: Path, draft: Path) -> None:
    store = OnlineStore(draft, 2)
    store.for_temperature(parsed(document()), 1.0).observe([0.9, 0.9], 2, 0)
    store.save()
    fresh = parsed({"temperatures": [1.2, 1.2]})
    assert OnlineStore(draft, 2).for_temperature(fresh, 1.0).biases == (0.0, 0.0)
    assert store.for_temperature(fresh, 1.0).biases == (0.0, 0.0)


@pytest.mark.parametrize("content", ["{", "[]", '{"regimes": 3}', '{"regimes": {"0": {"biases": "x"}}}'])
def test_a_damaged_record_is_passed_over(
    home: Path, draft: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = online_file(draft)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with caplog.at_level(logging.WARNING):
        store = OnlineStore(draft, 2)
    assert store.for_temperature(Calibration(), 0.0).biases == (0.0, 0.0)
    assert ("passed over" in caplog.text) == (not content.startswith('{"regimes": {'))


def test_a_disk_that_refuses_is_logged_and_breaks_nothing(
    home: Path, draft: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = OnlineStore(draft, 2)
    store.for_temperature(Calibration(), 0.0).observe([0.9, 0.9], 2, 0)
    online_file(draft).mkdir(parents=True)  # a folder stands where the file should go
    with caplog.at_level(logging.WARNING):
        store.save()
    assert "not kept" in caplog.text
