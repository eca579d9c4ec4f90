"""Starts and stops the engine process. Knows processes and files, nothing of the screen.

The process gets a random key by its environment (never its arguments, which other users can read), listens on a free
loopback port that it names on standard output, and writes everything else to a log file. It holds one end of a pipe
as standard input and exits when the other end closes, so it goes even when this program is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dspark_local.errors import EngineUnavailableError
from dspark_local.paths import log_dir
from dspark_tui.recovery_causes import how_it_ended, oom_kills

START_SECONDS = 60.0
STOP_SECONDS = 6.0
_LOGS_KEPT = 5
# -P keeps the current folder off the module path: whatever lies there must not run as the engine.
SERVE_COMMAND = (sys.executable, "-P", "-m", "dspark_local", "serve")
_INFORMATION = re.compile(r"\S+ \S+ (INFO|DEBUG) ")
_ADDRESS = re.compile(r"^Listening on (http://\S+)$")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the engine is started with; None leaves the engine's default, the bundled demo for the model."""

    model: str | None = None
    draft: str | None = None
    context: int | None = None

    def arguments(self) -> list[str]:
        """Command-line arguments of `serve`."""
        named = (("--model", self.model), ("--draft", self.draft), ("--context", self.context))
        return [part for name, value in named if value is not None for part in (name, str(value))]


class EngineProcess:
    """One engine process, from start() to stop()."""

    def __init__(
        self, options: EngineOptions, *, keep_warm: bool = False, command: Sequence[str] = SERVE_COMMAND
    ) -> None:
        self._command = [*command, "--port", "0", *options.arguments()]
        if not keep_warm:
            self._command.append("--exit-with-stdin")
        self._process: subprocess.Popen[str] | None = None
        self._kills_before = oom_kills()
        self.api_key = secrets.token_urlsafe(32)
        self.log_path = Path()
        """Where it writes; known from the start on."""

    def start(self) -> None:
        """Start it. Raises EngineUnavailableError when the system refuses."""
        try:
            self.log_path = log_dir() / f"engine-{os.getpid()}-{secrets.token_hex(3)}.log"
            _remove_old_logs(self.log_path.parent)
            with open(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "DSPARK_API_KEY": self.api_key},
                    text=True,
                    # A session of its own: Ctrl+C in this terminal must not reach it.
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineUnavailableError(f"The engine cannot be started: {error}.") from error

    async def address(self) -> str:
        """Wait for its address. Raises EngineUnavailableError when it dies first or says nothing for a minute."""
        assert self._process is not None, "start() comes first"
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), START_SECONDS)
        except TimeoutError as error:
            self.stop()
            raise EngineUnavailableError(
                f"The engine said nothing for {START_SECONDS:.0f} seconds after its start.",
                hint=f"Its log: {self.log_path}",
            ) from error
        found = _ADDRESS.match(line.strip())
        if found is None:
            self.stop()
            raise EngineUnavailableError(self.death_notice() or "The engine did not start.")
        return found.group(1)

    @property
    def pid(self) -> int:
        """Process id, 0 before the start."""
        return self._process.pid if self._process is not None else 0

    def death_notice(self) -> str | None:
        """What is known of its end: how, its last words, the log. None while it runs or before it was started."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return None
        how, _ = how_it_ended(code, self.last_words(), oom_kills() - self._kills_before)
        words = "\n".join(f"  {line}" for line in self.last_words())
        return f"The engine {how}." + (f" Its last words:\n{words}" if words else "") + f"\nLog: {self.log_path}"

    @property
    def ended_for_memory(self) -> bool:
        """Whether it has ended, and memory was the reason as far as can be told."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return False
        return how_it_ended(code, self.last_words(), oom_kills() - self._kills_before)[1]

    def last_words(self, count: int = 4) -> list[str]:
        """The last lines of its log that are no mere information, each cut to 200 characters."""
        with contextlib.suppress(OSError), open(self.log_path, "rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - 8192))
            text = log.read().decode("utf-8", "replace")
            lines = [line.strip()[:200] for line in text.splitlines() if line.strip()]
            return [line for line in lines if not _INFORMATION.match(line)][-count:]
        return []

    def stop(self) -> None:
        """End it: ask first, then kill. Does nothing when it has ended."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._close_pipes()

    def let_go(self) -> None:
        """Leave it running; only for one that was started to be kept warm."""
        self._close_pipes()

    def _close_pipes(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _remove_old_logs(folder: Path) -> None:
    with contextlib.suppress(OSError):
        logs = sorted(folder.glob("engine-*.log"), key=lambda path: path.stat().st_mtime)
        for path in logs[: -_LOGS_KEPT + 1]:
            path.unlink(missing_ok=True)
