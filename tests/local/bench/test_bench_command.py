"""`dspark-local bench` in this process, on a model that recites, and on the demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dspark_local import cli
from dspark_local.bench.prompts import BUILT_IN, USED_ELSEWHERE, prompts_of
from dspark_local.demo.heldout import held_out_turns
from dspark_local.engine.calibration_prompts import PROMPTS as CALIBRATION_PROMPTS
from dspark_local.native import NativeBackend
from tests.local.scripted import scripted_backend


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DSPARK_DEBUG", raising=False)


def recite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_draft: bool = True) -> Path:
    """A prompts file for a model that recites whatever is asked."""
    backend = scripted_backend(tmp_path, with_draft=with_draft)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    path = tmp_path / "questions.txt"
    path.write_text("How much is 12 * 7?\n\nAnd now?\n", encoding="utf-8")
    return path


def test_tables_go_to_stdout_and_remarks_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recite(tmp_path, monkeypatch)
    arguments = ["bench", "--spec", "--model", str(tmp_path), "--prompts", str(path), "--runs", "2"]
    assert cli._run([*arguments, "--row-cost", "0"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("scripted on cpu, blocks of 5\nnumerics: a table\nemulated: every further row")
    assert "questions: 2 prompts, 2 runs\nway " in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "\x1b" not in out + err
    assert "\r" not in err  # no progress where nobody watches
    assert err.startswith("measured in ")


def test_json_is_one_object_with_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recite(tmp_path, monkeypatch)
    arguments = ["bench", "--spec", "--model", str(tmp_path), "--prompts", str(path), "--runs", "1", "--json"]
    assert cli._run([*arguments, "--threshold", "0.8", "--max-tokens", "20"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["prompts"] == {"questions": ["How much is 12 * 7?", "And now?"]}
    settings = {"runs": 1, "max_tokens": 20, "temperature": 0.0, "threshold": 0.8, "row_cost": None}
    assert report["settings"] == settings
    ways = report["domains"]["questions"]
    assert ways["threshold 0.8"]["answers_unlike_plain"] == 0
    assert ways["plain"]["tokens"] == 2 * 19
    assert ways["plain"]["expert_bytes_per_token"] is None
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]  # nothing measured here is kept


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing to measure"),
        (["--spec", "--threshold", "1.5"], "threshold:1.5"),
        (["--spec", "--temperature", "-1"], "temperature"),
        (["--spec", "--prompts", "absent.txt"], "absent.txt"),
    ],
)
def test_wrong_usage_is_told_before_anything_loads(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(NativeBackend, "load", fail)
    assert cli._run(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_model_without_a_draft_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recite(tmp_path, monkeypatch, with_draft=False)
    assert cli._run(["bench", "--spec", "--model", str(tmp_path), "--prompts", str(path)]) == 2
    assert "holds no DSpark draft" in capsys.readouterr().err


def test_the_demo_is_asked_what_no_other_measurement_used() -> None:
    asked = prompts_of(3, is_demo=True, file=None)
    assert list(asked) == ["chat", "math", "code"]
    for domain, questions in asked.items():
        used = {turn.question for turn in held_out_turns(domain, USED_ELSEWHERE)}
        assert len(questions) == 3
        assert not used & set(questions)


def test_other_models_are_asked_what_did_not_calibrate_them() -> None:
    asked = prompts_of(4, is_demo=False, file=None)
    assert {domain: len(questions) for domain, questions in asked.items()} == {"chat": 4, "math": 4, "code": 4}
    assert not set(CALIBRATION_PROMPTS) & {question for group in BUILT_IN.values() for question in group}


def test_on_the_demo_in_float32_no_way_changes_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "asked.txt"
    path.write_text(prompts_of(1, is_demo=True, file=None)["code"][0], encoding="utf-8")
    arguments = ["bench", "--spec", "--dtype", "float32", "--prompts", str(path), "--max-tokens", "24", "--runs", "1"]
    assert cli._run([*arguments, "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)["domains"]["asked"]
    run = {name: way for name, way in ways.items() if not way["is_bound"]}
    assert {way["answers_unlike_plain"] for way in run.values()} == {0}
    assert all(way["expert_bytes_per_token"] > 0 for way in run.values())
    assert ways["always 5"]["accepted_length"] > 2.0
