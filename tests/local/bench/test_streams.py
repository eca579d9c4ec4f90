"""Several answers at once against one at a time: in passes, which can be counted, and on the command line."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from dspark_local import cli
from dspark_local.bench.streams import measure_streams
from dspark_local.native import NativeBackend
from tests.local.scripted import scripted_backend


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))


def test_four_streams_on_a_machine_where_a_pass_costs_the_same_whatever_is_in_it_are_four_times_as_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = scripted_backend(tmp_path, "Twelve times seven is 84. ", endless=True, slots=4)
    passes = 0
    forward = backend.target.forward

    def counted(runs: object) -> object:
        nonlocal passes
        passes += 1
        return forward(runs)  # type: ignore[arg-type]

    monkeypatch.setattr(backend.target, "forward", counted)
    prompts = [f"How much is {number} * 7?" for number in range(4)]
    figures = measure_streams(backend, prompts, "off", runs=2, max_tokens=100, clock=lambda: float(passes))
    assert figures.differing == 0
    assert [run.alone_tokens for run in figures.runs] == [run.together_tokens for run in figures.runs] == [400, 400]
    assert 3.6 < figures.ratio <= 4.0
    assert figures.together_tokens_per_second == pytest.approx(figures.ratio * figures.alone_tokens_per_second)


def test_an_answer_that_depends_on_the_others_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = scripted_backend(tmp_path, "Twelve times seven is 84. ", endless=True, slots=2)
    forward = backend.target.forward

    def leaking(runs: list[object]) -> object:
        out = forward(runs)  # type: ignore[arg-type]
        if len(runs) > 1:
            out[1].logits[:, 7] += 100.0
        return out

    monkeypatch.setattr(backend.target, "forward", leaking)
    ticks = itertools.count()
    figures = measure_streams(backend, ["1?", "2?"], "off", runs=1, max_tokens=20, clock=lambda: float(next(ticks)))
    assert figures.differing >= 1


def test_the_command_shows_a_ratio_for_each_kind_of_speculation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = scripted_backend(tmp_path, "Twelve times seven is 84. ", endless=True, slots=3)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    arguments = ["bench", "--streams", "3", "--model", str(tmp_path), "--runs", "1", "--max-tokens", "20"]
    assert cli._run(arguments) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("scripted on cpu, 3 answers at once\n")
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("off", "auto"))] == ["off", "auto"]
    assert all(len(line) <= 80 for line in out.splitlines())


def test_json_holds_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = scripted_backend(tmp_path, "Twelve times seven is 84. ", endless=True, slots=2)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    arguments = ["bench", "--streams", "2", "--model", str(tmp_path), "--runs", "3", "--max-tokens", "10", "--json"]
    assert cli._run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(way["speculation"], way["streams"], len(way["runs"])) for way in report["streams"]] == [
        ("off", 2, 3),
        ("auto", 2, 3),
    ]


def test_two_measurements_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["bench", "--streams", "2", "--spec"]) == 2
    assert "two measurements" in capsys.readouterr().err
