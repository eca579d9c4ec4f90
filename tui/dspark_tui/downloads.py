"""Downloads beside the chat: one `dspark-local pull` at a time, the others wait their turn.

A pause is what Ctrl+C is to the command: what has arrived stays, and the next pull of the same name continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import Callable

from dspark_tui.downloads_state import DownloadState
from dspark_tui.model_commands import last_words, start

_STOP_SECONDS = 5.0
_STOPPED_CODE = "stopped"


class Downloads:
    """`ended` is called for each that is done, failed or paused."""

    def __init__(self, ended: Callable[[DownloadState], None] = lambda state: None) -> None:
        self.states: dict[str, DownloadState] = {}
        self._ended = ended
        self._process: Process | None = None
        self._current: DownloadState | None = None
        self._runner: asyncio.Task[None] | None = None

    def pull(self, name: str, *, insists: bool = False) -> DownloadState:
        """Download, or continue; `insists` takes also what does not fit this computer."""
        state = self.states.get(name)
        if state is not None and not state.is_over:
            return state
        if state is None or state.stage == "done":
            state = DownloadState(name)
        else:
            self.states.pop(name)  # to the end of the queue
        state.stage, state.insists = "queued", insists
        self.states[name] = state
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return state

    def pause(self, name: str) -> bool:
        """End the work on one; what has arrived stays. False when nothing works on it."""
        state = self.states.get(name)
        if state is None or state.is_over:
            return False
        if state is self._current:
            state.stage = "pausing"
            self._interrupt()
        else:
            state.stage = "paused"
            self._ended(state)
        return True

    def forget(self, name: str) -> None:
        """Show it no longer, once it is over."""
        if (state := self.states.get(name)) is not None and state.is_over:
            del self.states[name]

    @property
    def unfinished(self) -> list[str]:
        """What a later pull continues."""
        return [state.name for state in self.states.values() if state.stage != "done"]

    async def close(self) -> None:
        """Pause everything and wait until the disk has it."""
        for name in reversed(self.states):
            self.pause(name)
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._runner), _STOP_SECONDS)
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()

    # ---- one after the other

    async def _run(self) -> None:
        while (state := next((each for each in self.states.values() if each.stage == "queued"), None)) is not None:
            self._current = state
            state.begin()
            try:
                await self._pull(state)
            except OSError as error:
                state.stage, state.problem = "failed", f"dspark-local cannot be started: {error.strerror or error}."
            self._current = self._process = None
            self._ended(state)

    async def _pull(self, state: DownloadState) -> None:
        more = ("--anyway",) if state.insists else ()
        self._process = process = await start("pull", state.name, "--json", *more)
        assert process.stdout is not None
        assert process.stderr is not None
        if state.stage == "pausing":  # before there was anything to interrupt
            self._interrupt()
        words = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                state.take(json.loads(line))
        code = await process.wait()
        _judge(state, code, (await words).decode("utf-8", "replace"))

    def _interrupt(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # `pull` takes it like Ctrl+C, which a program that was started in the background ignores.
            self._process.terminate()


def _judge(state: DownloadState, code: int, err: str) -> None:
    """What the end of the process means."""
    if state.stage == "done" and code == 0:
        return
    if state.stage == "pausing" or state.code == _STOPPED_CODE:
        state.stage, state.problem, state.note = "paused", "", ""
        return
    state.stage, state.note = "failed", ""
    if not state.problem:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        state.problem = (
            last_words(err) if code > 0 and err.strip() else f"The download {how}. What has arrived is kept."
        )
