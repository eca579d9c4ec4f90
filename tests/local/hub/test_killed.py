"""The real program, killed at random moments: it goes on from there, and hardly a byte comes twice."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.local.hub.stand_in_hub import COMMIT, StandInHub, environment, random_folder

KILLS = 10


def _start(hub: StandInHub, root: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dspark_local", "pull", "owner/model", *options]
    with log.open("wb") as stream:
        # A test run in a shell's background ignores SIGINT, and would hand that down.
        return subprocess.Popen(
            command,
            env=environment(hub, root),
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def _events(log: Path) -> list[dict[str, Any]]:
    """What the program wrote; the line that a kill cut off is left out."""
    whole, _, _ = log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _wait_for_bytes(hub: StandInHub, process: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 60
    while hub.served.total() < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def _assert_survives_kills(root: Path, sizes: dict[str, int], bytes_per_second: float | None) -> None:
    source = random_folder(root / "source", sizes)
    total = sum(sizes.values())
    moments = sorted(random.Random(7).uniform(0.02, 0.95) * total for _ in range(KILLS))
    done_before = 0
    with StandInHub(bytes_per_second=bytes_per_second) as hub:
        hub.add("owner/model", source)
        for number, moment in enumerate([*moments, None]):
            log = root / f"{number}.log"
            process = _start(hub, root, log, "--json", "--connections", "2")
            if moment is not None:
                _wait_for_bytes(hub, process, int(moment))
                assert process.poll() is None, log.read_text()
                process.send_signal(signal.SIGKILL)
            code = process.wait(timeout=120)
            assert code == (0 if moment is None else -signal.SIGKILL), log.read_text()
            done = [event["done"] for event in _events(log) if event["event"] == "progress"]
            assert [done_before, *done] == sorted([done_before, *done]), "progress ran backwards"
            done_before = done[-1] if done else done_before
        result = _events(log)[-1]
        assert result["event"] == "result"
        assert hub.served.total() < 1.1 * total
    snapshot = Path(result["models"][0]["path"])
    assert snapshot.name == COMMIT
    for name in sizes:
        command = ["cmp", str(snapshot / name), str(source / name)]
        assert subprocess.run(command, check=False).returncode == 0


def test_ten_kills_cost_less_than_a_tenth_more_bytes(tmp_path: Path) -> None:
    sizes = {f"model-{number}.safetensors": 12_000_000 + number for number in range(5)}
    _assert_survives_kills(tmp_path, sizes, bytes_per_second=60e6)


@pytest.mark.slow
def test_ten_kills_of_a_gigabyte_cost_less_than_a_tenth_more_bytes(tmp_path: Path) -> None:
    sizes = {f"model-{number:05}-of-00005.safetensors": 220_000_000 + number for number in range(1, 6)}
    try:
        _assert_survives_kills(tmp_path, sizes, bytes_per_second=None)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_within_a_second_and_says_how_to_go_on(tmp_path: Path, which: signal.Signals) -> None:
    source = random_folder(tmp_path / "source", {"model.safetensors": 20_000_000})
    with StandInHub(bytes_per_second=10e6) as hub:
        hub.add("owner/model", source)
        process = _start(hub, tmp_path, tmp_path / "log")
        _wait_for_bytes(hub, process, 3_000_000)
        start = time.monotonic()
        process.send_signal(which)
        assert process.wait(timeout=10) == 130
        assert time.monotonic() - start < 1.0
        text = (tmp_path / "log").read_text()
        assert text.endswith("stopped; run the same command to continue\n")
        assert "Traceback" not in text
        hub.bytes_per_second = None
        assert _start(hub, tmp_path, tmp_path / "log").wait(timeout=60) == 0
        assert hub.served.total() < 1.1 * 20_000_000


def test_two_programs_at_once_fetch_each_file_once(tmp_path: Path) -> None:
    source = random_folder(tmp_path / "source", {f"model-{n}.safetensors": 4_000_000 for n in range(3)})
    with StandInHub(bytes_per_second=8e6) as hub:
        hub.add("owner/model", source)
        both = [_start(hub, tmp_path, tmp_path / f"{number}.log") for number in range(2)]
        assert [process.wait(timeout=60) for process in both] == [0, 0]
        assert hub.served.total() < 1.05 * 12_000_000
