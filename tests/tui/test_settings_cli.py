from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any

import pytest

from dspark_tui import cli
from dspark_tui.app import ChatApp
from dspark_tui.settings_file import ChatFile, save_settings, settings_path


def chat_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dspark_tui", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_settings_prints_a_file_to_begin_with_and_says_where_it_goes_and_what_is_wrong_there() -> None:
    told = chat_program("--settings")
    assert told.returncode == 0
    assert told.stderr.startswith(f"{settings_path()} (not there yet")
    assert tomllib.loads(told.stdout) == {}
    settings_path().write_text("colour = 1\n")
    told = chat_program("--settings")
    assert f"{settings_path()}, line 1: colour: there is no such setting." in told.stderr


def test_a_known_model_that_nothing_here_runs_is_refused_before_the_screen() -> None:
    refused = chat_program("--model", "qwen3-4b")
    assert refused.returncode == 2
    assert "no engine that runs it" in refused.stderr


@pytest.mark.parametrize(
    ("in_file", "asked", "used"), [(True, None, True), (False, None, False), (True, False, False), (False, True, True)]
)
def test_the_mouse_is_left_to_the_terminal_when_file_or_option_say_so(
    monkeypatch: pytest.MonkeyPatch, in_file: bool, asked: bool | None, used: bool
) -> None:
    runs: list[dict[str, Any]] = []
    monkeypatch.setattr(ChatApp, "run", lambda self, **options: runs.append(options))
    if in_file != ChatFile().mouse:
        save_settings({"mouse": in_file})
    cli._run(cli._link(None, None, None, "http://127.0.0.1:9", False), False, None, False, asked)
    assert runs == [{"mouse": used}]
