"""`dspark-local calibrate` in this process, on a model that recites."""

from __future__ import annotations

import itertools
import json
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dspark_local import cli
from dspark_local.backend import Cancelled
from dspark_local.commands import calibrate as command
from dspark_local.engine.calibration import CALIBRATION_FILE, load_calibration
from dspark_local.engine.calibration_play import play
from dspark_local.events import Event
from dspark_local.native import NativeBackend
from dspark_local.request import ChatRequest, SpeculationSettings
from tests.local.scripted import scripted_backend

BLOCK = 5


class Terminal:
    """Calls the program on a model directory and reads what it wrote."""

    def __init__(self, model: Path, backend: NativeBackend, capsys: pytest.CaptureFixture[str]) -> None:
        self.model = model
        self.backend = backend
        self._capsys = capsys

    def __call__(self, *arguments: str) -> int:
        code = cli._run(["calibrate", str(self.model), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def file(self) -> Any:
        return json.loads((self.model / CALIBRATION_FILE).read_text())


@pytest.fixture
def backend(tmp_path: Path) -> NativeBackend:
    return scripted_backend(tmp_path, endless=True)


@pytest.fixture
def terminal(
    tmp_path: Path, backend: NativeBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DSPARK_DEBUG", raising=False)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    model = tmp_path / "model"
    model.mkdir()
    return Terminal(model, backend, capsys)


def test_every_regime_is_measured_reported_and_written(terminal: Terminal) -> None:
    assert terminal("--rounds", "250") == 0
    assert [title in terminal.out for title in ("temperature 0 (greedy)", "temperature 0.6", "temperature 1:")]
    assert "noise floor" in terminal.out
    assert set(terminal.file["regimes"]) == {"0", "0.6", "1"}
    assert terminal.file["num_samples"] == 250
    assert "24 built-in prompts" in terminal.file["dataset"]
    assert [regime for regime, _ in load_calibration(terminal.model, BLOCK).regimes] == [0.0, 0.6, 1.0]


def test_json_is_one_object_and_a_dry_run_writes_nothing(terminal: Terminal, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    assert terminal("--rounds", "250", "--temperature", "0.3", "--json", "--dry-run", "--plot", str(plot)) == 0
    regime = terminal.json["regimes"]["0.3"]
    assert regime["num_samples"] == 250
    assert len(regime["ece_before"]) == len(regime["noise_floor"]) == BLOCK
    assert terminal.json["file"] is None
    assert not (terminal.model / CALIBRATION_FILE).exists()
    assert "dry run" in terminal.err
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_a_better_founded_file_is_kept_and_that_is_said(terminal: Terminal) -> None:
    assert terminal("--rounds", "300", "--temperature", "0") == 0
    before = terminal.file
    assert terminal("--rounds", "250", "--temperature", "0") == 0
    assert terminal.file == before
    assert "the file's 300 rounds stay, 250 are fewer" in terminal.err
    assert terminal("--rounds", "250", "--temperature", "0", "--replace") == 0
    assert terminal.file["num_samples"] == 250


def test_own_prompts_are_named_by_their_file(terminal: Terminal, tmp_path: Path) -> None:
    prompts = tmp_path / "mine.txt"
    prompts.write_text("One?\n\n  Two?\nThree?\n")
    assert terminal("--rounds", "250", "--temperature", "1", "--prompts", str(prompts)) == 0
    assert "3 prompts of mine.txt" in terminal.file["dataset"]


def test_too_few_rounds_are_an_error_and_nothing_is_written(terminal: Terminal) -> None:
    assert terminal("--rounds", "50", "--temperature", "0") == 2
    assert "50 rounds are too few to fit, 200 are needed" in terminal.err
    assert not (terminal.model / CALIBRATION_FILE).exists()


def test_one_prompt_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Alone?\n")
    assert terminal("--prompts", str(tmp_path / "one.txt")) == 2
    assert "holds 1 prompts" in terminal.err


def test_a_damaged_file_is_named_before_anything_is_played(terminal: Terminal) -> None:
    (terminal.model / CALIBRATION_FILE).write_text("{")
    assert terminal("--rounds", "250") == 5
    assert "not a calibration file" in terminal.err
    assert "rounds of" not in terminal.out


def test_a_model_without_a_draft_is_refused(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = scripted_backend(tmp_path, with_draft=False)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: plain))
    assert terminal() == 2
    assert "holds no DSpark draft" in terminal.err


@pytest.mark.parametrize(("after", "fits"), [(230, True), (60, False)])
def test_an_interrupt_keeps_what_was_collected_if_that_is_enough(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, after: int, fits: bool
) -> None:
    count = command._Progress.__call__

    def interrupt(self: command._Progress, rounds: int) -> None:
        count(self, rounds)
        if rounds == after:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command._Progress, "__call__", interrupt)
    assert terminal("--rounds", "400") == 130
    if fits:
        assert list(terminal.file["regimes"]) == ["0"]
        assert after <= terminal.file["num_samples"] < 400
    else:
        assert "too few to fit" in terminal.err
        assert not (terminal.model / CALIBRATION_FILE).exists()
    assert "temperature 1: not begun" in terminal.err


def test_progress_off_a_terminal_is_a_line_every_500_rounds(terminal: Terminal) -> None:
    assert terminal("--rounds", "1000", "--temperature", "1") == 0
    assert "temperature 1: 500 of 1,000 rounds" in terminal.err
    assert "temperature 1: 1,000 of 1,000 rounds" in terminal.err


def test_a_repeated_prompt_keeps_its_number_and_every_draft_is_verified(backend: NativeBackend) -> None:
    prompts: Callable[[], Iterator[tuple[int, str]]] = lambda: itertools.cycle([(3, "One?"), (8, "Two?")])  # noqa: E731
    rounds = play(backend, prompts(), temperature=0.0, wanted=60, per_answer=40, max_tokens=32)
    assert len(rounds) == 60
    assert {played.prompt for played in rounds} == {3, 8}
    whole = [played for played in rounds if played.known == BLOCK]
    assert len(whole) > 40
    assert all(len(played.confidences) == BLOCK for played in rounds)
    assert all(played.accepted <= played.known for played in rounds)


def test_no_answer_gives_more_rounds_than_its_share(backend: NativeBackend) -> None:
    rounds = play(backend, enumerate(["One?", "Two?"]), temperature=0.0, wanted=60, per_answer=7, max_tokens=400)
    assert [played.prompt for played in rounds] == [0] * 7 + [1] * 7


def test_what_is_played_is_the_unseeded_rule_that_most_requests_get(
    backend: NativeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[ChatRequest] = []
    chat = backend.chat

    def recorded(request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        requests.append(request)
        return chat(request, cancelled)

    monkeypatch.setattr(backend, "chat", recorded)
    play(backend, [(0, "One?")], temperature=0.6, wanted=5, per_answer=5, max_tokens=40)
    [request] = requests
    assert request.sampling.seed is None
    assert request.sampling.temperature == 0.6
    assert request.speculation == SpeculationSettings("static", draft_tokens=BLOCK)
