"""`dspark-local serve` on the demo as a process of its own, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

KEY = "sk-local-77b0"


@dataclass(frozen=True)
class DemoServer:
    """A server that has loaded; `process` is looked at from outside."""

    url: str
    process: psutil.Process
    log: IO[str]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}"}

    def logged(self) -> str:
        """The log so far, read without moving the place where the server writes."""
        return os.pread(self.log.fileno(), 10_000_000, 0).decode()


@contextmanager
def demo_server(home: Path, *arguments: str, seconds_to_load: float = 120.0) -> Iterator[DemoServer]:
    """Serve the demo in float32, where passes of several rows round as those of one; killed at the end."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below, when the server is gone
    environment = {**os.environ, "DSPARK_HOME": str(home), "DSPARK_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dspark_local", "serve", "--port", "0", "--dtype", "float32", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        deadline = time.monotonic() + seconds_to_load
        while httpx.get(url + "/health", timeout=30).status_code != 200:
            assert time.monotonic() < deadline, "the demo does not load"
            time.sleep(0.1)
        yield DemoServer(url, psutil.Process(process.pid), log)
    finally:
        process.kill()
        process.communicate()
        log.close()
