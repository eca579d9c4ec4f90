"""The chat's one way to an engine: connect, ask whether it lives, reconnect, close. Two kinds behind one interface."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.client import EngineClient
from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.paths import warm_engine_file, write_atomically
from dspark_tui.launcher import SERVE_COMMAND, STOP_SECONDS, EngineOptions, EngineProcess

OnProgress = Callable[[LoadProgress], None]


class EngineLink(Protocol):
    """A way to an engine. connect() may be called again after the engine has gone."""

    client: EngineClient | None

    @property
    def can_switch(self) -> bool:
        """Whether another model can be had by this link: only where the engine is ours to start."""
        ...

    async def connect(self, on_progress: OnProgress) -> ModelInfo:
        """Reach the engine, starting it if that is this link's way, and wait for the model. Raises DsparkError."""
        ...

    def death_notice(self) -> str | None:
        """What is known of the engine's end; None while it lives, or when this link cannot know."""
        ...

    @property
    def ended_for_memory(self) -> bool:
        """Whether it is known that the engine ended because memory ran out."""
        ...

    async def disconnect(self) -> None:
        """Close connections; the engine stays as it is."""
        ...

    def close(self) -> None:
        """End what this link started."""
        ...


class RemoteEngine:
    """A server that somebody else runs."""

    def __init__(self, url: str, api_key: str | None) -> None:
        EngineClient(url)  # refuses what is no address before the screen opens
        self._url = url
        self._api_key = api_key
        self._chosen = ""
        self.client: EngineClient | None = None

    @property
    def can_switch(self) -> bool:
        """Never: it is not ours."""
        return False

    async def connect(self, on_progress: OnProgress) -> ModelInfo:
        """Reach the server; the model that was chosen answers again, if it is still offered. Raises DsparkError."""
        await self.disconnect()
        self.client = EngineClient(self._url, self._api_key)
        info = await self.client.wait_until_ready(on_progress)
        if self._chosen in ("", info.id):
            return info
        offered = {model.id: model for model in await self.client.models()}
        if self._chosen in offered:
            info = offered[self._chosen]
            self.client.use(info)
        return info

    def choose(self, model: ModelInfo) -> None:
        """Let this one of the server's models answer from now on, after a new connection too."""
        self._chosen = model.id
        if self.client is not None:
            self.client.use(model)

    def death_notice(self) -> str | None:
        """Never known from here."""
        return None

    @property
    def ended_for_memory(self) -> bool:
        """Never known from here."""
        return False

    async def disconnect(self) -> None:
        """Close connections."""
        if self.client is not None:
            await self.client.close()
            self.client = None

    def close(self) -> None:
        """Nothing was started."""


class LocalEngine:
    """An engine process of our own, or a warm one that an earlier chat left running with the same options."""

    def __init__(
        self, options: EngineOptions, *, keep_warm: bool = False, command: Sequence[str] = SERVE_COMMAND
    ) -> None:
        self._options = options
        self._keep_warm = keep_warm
        self._command = command
        self._process: EngineProcess | None = None
        self._is_noted_warm = False
        self._has_joined = False
        self._closing = threading.Lock()
        self.client: EngineClient | None = None

    @property
    def can_switch(self) -> bool:
        """Always."""
        return True

    @property
    def pid(self) -> int | None:
        """Process id of the engine that was started here, None before that."""
        return self._process.pid if self._process is not None else None

    @property
    def options(self) -> EngineOptions:
        """What the engine runs with, or will be started with next."""
        return self._options

    def use(self, options: EngineOptions) -> None:
        """Let the next connect() replace the engine by one with these options."""
        self._options = options

    async def connect(self, on_progress: OnProgress) -> ModelInfo:
        """Start the engine, or join the warm one, and wait for the model. Raises DsparkError.

        Whatever ran before is ended first, a warm one with other options too: two models would share the memory.
        """
        await self.disconnect()
        await asyncio.to_thread(self._end_former)  # it may take seconds, in which the screen must live
        if (info := await self._join_warm(on_progress)) is not None:
            return info
        self._process = process = EngineProcess(self._options, keep_warm=self._keep_warm, command=self._command)
        process.start()
        url = await process.address()
        self.client = EngineClient(url, process.api_key)
        try:
            info = await self.client.wait_until_ready(on_progress, is_alive=lambda: process.death_notice() is None)
        except EngineUnavailableError as error:
            raise EngineUnavailableError(process.death_notice() or error.message, hint=error.hint) from error
        if self._keep_warm:
            self._is_noted_warm = _note_warm(url, process, self._options)
        return info

    def _end_former(self) -> None:
        if (self._has_joined or self._is_noted_warm) and _noted_warm().get("options") != self._options.arguments():
            stop_warm_engine()
            self._is_noted_warm = False
        self._has_joined = False
        self.close()

    async def _join_warm(self, on_progress: OnProgress) -> ModelInfo | None:
        noted = _noted_warm()
        if noted.get("options") != self._options.arguments():
            return None
        client = EngineClient(str(noted["url"]), str(noted["key"]))
        try:
            info = await client.wait_until_ready(on_progress)
        except DsparkError:  # it has gone since; a fresh one takes its place
            await client.close()
            return None
        self.client = client
        self._has_joined = True
        return info

    def death_notice(self) -> str | None:
        """How our own process ended."""
        return self._process.death_notice() if self._process is not None else None

    @property
    def ended_for_memory(self) -> bool:
        """By its last words, or the counters of the system's out-of-memory killer."""
        return self._process is not None and self._process.ended_for_memory

    async def disconnect(self) -> None:
        """Close connections."""
        if self.client is not None:
            await self.client.close()
            self.client = None

    def close(self) -> None:
        """Stop our process, unless it stays warm where others can find it. One that was joined is left alone."""
        with self._closing:
            process, self._process = self._process, None
            if process is None:
                return
            if self._is_noted_warm and process.death_notice() is None:
                process.let_go()
            else:
                process.stop()


def stop_warm_engine() -> bool:
    """End the engine that --keep-warm left running, and wait a few seconds for it; False when there is none."""
    noted = _noted_warm()
    try:
        pid = int(str(noted["pid"]))
        if not _is_our_engine(pid):
            return False
        os.kill(pid, signal.SIGTERM)
        _await_end(pid)
    except (KeyError, ValueError, OSError):
        return False
    finally:
        with contextlib.suppress(OSError):
            warm_engine_file().unlink(missing_ok=True)
    return True


def _await_end(pid: int) -> None:
    """Whatever is loaded next needs the memory that it still holds."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and _is_our_engine(pid):
        try:
            os.kill(pid, 0)
        except OSError:
            return
        time.sleep(0.05)


def _is_our_engine(pid: int) -> bool:
    """Guards against a process id that has been given to another program since."""
    command = Path(f"/proc/{pid}/cmdline")
    if not command.parent.parent.exists():  # no /proc on this system: trust the note
        return True
    with contextlib.suppress(OSError):
        return b"serve" in command.read_bytes().split(b"\0")
    return False


def _note_warm(url: str, process: EngineProcess, options: EngineOptions) -> bool:
    note = {"url": url, "key": process.api_key, "pid": process.pid, "options": options.arguments()}
    with contextlib.suppress(OSError):
        write_atomically(warm_engine_file(), json.dumps(note))
        return True
    return False


def _noted_warm() -> dict[str, object]:
    try:
        note = json.loads(warm_engine_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(note, dict) and {"url", "key", "pid", "options"} <= note.keys()
    return note if complete else {}
