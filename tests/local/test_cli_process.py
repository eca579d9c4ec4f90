"""The program as a process of its own: start-up cost, Ctrl-C, closed pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dspark_local

RECITE = """
import sys
from pathlib import Path
from dspark_local import cli
from dspark_local.native import NativeBackend
from tests.local.scripted import scripted_backend
backend = scripted_backend(Path(sys.argv[1]), "word ", seconds_per_pass=0.02, endless=True, context_length=100_000)
NativeBackend.load = classmethod(lambda cls, *_, **__: backend)
cli.main(sys.argv[2:])
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}


def recite(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RECITE, str(folder), "run", "Say it?", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


@pytest.mark.parametrize("call", ["--version", "--help", "run --help", "score --help", "serve --help"])
def test_help_and_version_load_no_torch(call: str) -> None:
    arguments = call.split()
    code = (
        "import sys; from dspark_local import cli\n"
        f"code = cli._run({arguments!r})\n"
        "print('HEAVY', [m for m in ('torch', 'transformers', 'starlette', 'uvicorn') if m in sys.modules])\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    if call == "--version":
        assert dspark_local.__version__ in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_at_once_keeps_what_was_said_and_shows_no_traceback(tmp_path: Path) -> None:
    process = recite(tmp_path)
    assert process.stdout is not None
    first = process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert first == b"word "
    assert rest.endswith(b"\n")
    assert errors.endswith(b"interrupted\n")
    assert b"Traceback" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_with_json_still_prints_the_object(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    process = recite(tmp_path, "--json", "--trace", str(trace), "--max-tokens", "90000")
    # Lines in the trace are the sign that generation runs.
    while process.poll() is None and not (trace.exists() and trace.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["finish_reason"] == "cancelled"
    assert b"Traceback" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a closed pipe otherwise")
def test_a_reader_that_has_enough_ends_the_program_quietly(tmp_path: Path) -> None:
    process = recite(tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(5)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert b"Traceback" not in errors
    assert b"Broken" not in errors


def test_an_output_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-c", RECITE, str(tmp_path), "run", "Say it?", "--max-tokens", "4"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=120,
            check=False,
        )
    assert process.returncode == 2
    assert "No space left on device" in process.stderr
    assert "defect" not in process.stderr
