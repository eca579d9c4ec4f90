"""What `dspark-local pull` shows, in a pipe, in a terminal and for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.hub.stand_in_hub import COMMIT, Faults, StandInHub, environment, random_folder

SIZES = {"model-00001-of-00002.safetensors": 3_000_000, "model-00002-of-00002.safetensors": 2_000_000, "a.bin": 5}
COMMAND = [sys.executable, "-m", "dspark_local", "pull", "owner/model"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub() as hub:
        hub.add("owner/model", random_folder(tmp_path / "source", SIZES))
        yield hub


def _run(hub: StandInHub, root: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = environment(hub, root, **variables)
    return subprocess.run([*COMMAND, *options], env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_pipe_gets_plain_lines_and_the_result_on_stdout(hub: StandInHub, tmp_path: Path) -> None:
    outcome = _run(hub, tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert "\r" not in outcome.stderr
    assert "Left out: a.bin (pickled" in outcome.stderr
    assert "model-00001-of-00002.safetensors  3.0 MB  verified" in outcome.stderr
    snapshot = tmp_path / "hf" / "hub" / "models--owner--model" / "snapshots" / COMMIT
    assert str(snapshot) in outcome.stdout
    assert "Next: dspark-local" in outcome.stdout
    assert "Everything was here already." in _run(hub, tmp_path).stdout


def test_json_is_one_object_a_line_and_ends_with_the_result(hub: StandInHub, tmp_path: Path) -> None:
    outcome = _run(hub, tmp_path, "--json")
    events = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert {"planned", "progress", "file", "notice", "result"} == {event["event"] for event in events}
    (result,) = [event for event in events if event["event"] == "result"]
    assert events[-1] == result
    assert result["models"][0]["commit"] == COMMIT
    assert result["models"][0]["bytes"] == result["moved_bytes"]
    assert outcome.stderr == ""


def test_json_tells_a_failure_too(hub: StandInHub, tmp_path: Path) -> None:
    hub.faults["model-00001-of-00002.safetensors"] = Faults(flip_at=10)
    outcome = _run(hub, tmp_path, "--json")
    assert outcome.returncode == 5
    assert json.loads(outcome.stdout.splitlines()[-1])["error"]["code"] == "checksum_mismatch"


def test_a_terminal_gets_a_bar_for_the_whole_and_one_for_each_file(hub: StandInHub, tmp_path: Path) -> None:
    hub.bytes_per_second = 4e6
    main, side = pty.openpty()
    environ = environment(hub, tmp_path, COLUMNS="80", TERM="xterm-256color")
    process = subprocess.Popen(COMMAND, env=environ, stdout=side, stderr=side, stdin=side)
    os.close(side)
    screen = b""
    while True:
        try:
            screen += os.read(main, 65536)
        except OSError:  # Linux's way of ending a terminal that nobody holds open
            break
    os.close(main)
    assert process.wait(timeout=30) == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode()).replace("\r", "\n").split("\n")
    assert any(re.search(r"all files +.*\d % .* of 5\.0 MB", line) for line in lines)
    assert any(re.search(r"00001-of.*\d %", line) for line in lines)
    snapshot_lines = [line for line in lines if str(tmp_path) in line]
    assert max(len(line) for line in lines if line not in snapshot_lines) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--draft-only", "--no-draft"], 2, "leave nothing to pull"),
        (["--revision", "v9"], 4, "has no revision 'v9'"),
        (["--draft-only"], 5, "is no safetensors file"),
        (["--include", "*.gguf"], 4, "No weights of owner/model match"),
        (["--connections", "0"], 2, "connections"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    hub: StandInHub, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    outcome = _run(hub, tmp_path, *arguments)
    assert message in outcome.stderr
    assert (outcome.returncode, "Traceback" in outcome.stderr) == (code, False)


def test_a_gated_model_asks_for_a_token_and_takes_the_environments(hub: StandInHub, tmp_path: Path) -> None:
    hub.repos["owner/model"].needs_token = "hf_good"
    refused = _run(hub, tmp_path)
    assert refused.returncode == 5
    assert f"{hub.endpoint}/owner/model" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    assert _run(hub, tmp_path, HF_TOKEN="hf_good").returncode == 0


def test_offline_mode_asks_nobody(hub: StandInHub, tmp_path: Path) -> None:
    outcome = _run(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert outcome.returncode == 5
    assert "HF_HUB_OFFLINE" in outcome.stderr
    assert not hub.requests
