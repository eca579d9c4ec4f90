"""The server as a process of its own: a model that cannot be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

SERVE = """
import sys
from dspark_local import cli
from dspark_local.server import cli as serve_cli
from tests.tui.fake_engine import slow_loader
serve_cli._native_loader = lambda *_: slow_loader(0.0, 0.0, fails=True)
cli.main(sys.argv[1:])
"""


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--port", "0", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "DSPARK_API_KEY": ""},
        cwd=Path(__file__).parents[3],
    )


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_error_said_once() -> None:
    process = serve()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "error: Shard 2 of 3 ends after 10 of 20 bytes.\nhint: Download it again.\n" in errors
    assert errors.count("Shard 2 of 3") == 1
    assert "Traceback" not in errors


def test_a_server_with_a_supervisor_stays_so_that_the_error_can_be_read() -> None:
    process = serve("--exit-with-stdin")
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().split()[-1]
    health = httpx.get(url + "/health", timeout=30).json()
    while health["status"] == "loading":
        health = httpx.get(url + "/health", timeout=30).json()
    assert health["error"]["message"].startswith("Shard 2 of 3")
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert "Shard 2 of 3" in process.stderr.read()  # the log that the chat keeps
