"""Whether the model is in memory: unloaded on request or when idle, loaded again by the next request.

A worker loads once and cannot be restarted, so each loading gets a worker of its own; app.state.worker is always the
present one. All methods may be called from any thread, and those that move a model block while it moves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.server.waking import answer_when_awake
from dspark_local.server.worker import EngineWorker

log = logging.getLogger(__name__)

Presence = Literal["loaded", "loading", "unloaded", "failed"]

UNLOAD_SECONDS = 60.0
# Well under the time that official clients wait for an answer; after it they are told to try again.
RELOAD_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ModelBusyError(DsparkError):
    """Requests are running, so the model cannot be unloaded."""

    code = "model_busy"


class Residence:
    """Owns the worker in state.worker. new_worker makes one that has not been started."""

    def __init__(
        self, state: State, new_worker: Callable[[], EngineWorker], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._new_worker = new_worker
        self._clock = clock
        self._counting = threading.Lock()
        self._moving = threading.Lock()
        self._users = 0
        self._last_use = clock()
        self._info: ModelInfo | None = None
        self._unloaded = False
        self._reloaded = False
        self.is_closed = False

    @property
    def presence(self) -> Presence:
        """Where the model is. unloaded: the next request loads it."""
        worker: EngineWorker = self._state.worker
        if self._unloaded:
            return "unloaded"
        # A first loading that fails ends the server; a later one, when memory is short, may succeed the next time.
        if worker.state == "failed" and self._reloaded:
            return "unloaded"
        return _presence(worker)

    @property
    def info(self) -> ModelInfo:
        """Facts of the model, also while it is not in memory. Raises ModelLoadingError before it ever was."""
        worker: EngineWorker = self._state.worker
        return worker.info or self._info or worker.ready_info()

    def enter(self) -> None:
        """A request begins that needs the model; it stays until leave()."""
        with self._counting:
            self._users += 1

    def leave(self) -> None:
        """The request ended."""
        with self._counting:
            self._users -= 1
            self._last_use = self._clock()

    def load(self) -> None:
        """Begin to load an unloaded model; returns at once, or when an unloading under way has ended."""
        with self._moving:
            if self.is_closed or self.presence != "unloaded":
                return
            log.info("Loading the model again")
            self._info = self._state.worker.info or self._info
            worker = self._new_worker()
            self._reloaded = True
            self._state.worker = worker
            self._unloaded = False
            worker.start()

    def unload(self) -> None:
        """Free the model's memory. Raises ModelBusyError while requests run or the model loads."""
        with self._moving:
            with self._counting:
                if self._unloaded:
                    return
                if self._users or self.presence == "loading":
                    raise ModelBusyError(
                        f"{self._users} requests are running." if self._users else "The model is being loaded.",
                        hint="Try again when that is over.",
                    )
                self._unloaded = True
            if not self._state.worker.stop(UNLOAD_SECONDS):
                log.warning("The engine has not stopped after %.0f s; its memory is not free yet", UNLOAD_SECONDS)
            log.info("The model is unloaded; the next request loads it again")

    def unload_if_idle(self, seconds: float) -> bool:
        """Unload when no request ran for `seconds`; True if it did."""
        if self.is_closed or self.presence != "loaded" or self._clock() - self._last_use < seconds:
            return False
        try:
            self.unload()
        except ModelBusyError:  # somebody came in between
            return False
        return True

    def close(self, timeout: float) -> bool:
        """Stop for good; True if the engine ended within `timeout` seconds."""
        self.is_closed = True
        worker: EngineWorker = self._state.worker
        return worker.stop(timeout)

    async def wait_until_loaded(self, seconds: float = RELOAD_WAIT_SECONDS) -> None:
        """Load an unloaded model, and wait for any loading but the first; whoever waits too long meets it loading."""
        deadline = time.monotonic() + seconds
        if self.presence == "unloaded":
            await asyncio.to_thread(self.load)
        while self._reloaded and self.presence == "loading" and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)


def info_of(state: State) -> ModelInfo:
    """Facts of the model of an application, also of one that never unloads it. Raises as ready_info does."""
    residence: Residence | None = getattr(state, "residence", None)
    if residence is not None:
        return residence.info
    worker: EngineWorker = state.worker
    return worker.ready_info()


def presence_of(state: State) -> Presence:
    """Where the model of an application is, also of one that never unloads it."""
    residence: Residence | None = getattr(state, "residence", None)
    return residence.presence if residence is not None else _presence(state.worker)


def _presence(worker: EngineWorker) -> Presence:
    if worker.state == "failed":
        return "failed"
    return "loading" if worker.state == "loading" else "loaded"


class KeepLoaded:
    """ASGI middleware: requests that need the model find it loaded, and keep it so while they run."""

    def __init__(self, app: ASGIApp, residence: Residence) -> None:
        self._app = app
        self._residence = residence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].endswith(("/load", "/unload")):
            await self._app(scope, receive, send)
            return
        self._residence.enter()
        try:
            await answer_when_awake(
                self._app,
                scope,
                receive,
                send,
                wait=self._residence.wait_until_loaded,
                every=scope["app"].state.keep_alive_seconds,
            )
        finally:
            self._residence.leave()


def watch_for_idleness(residence: Residence, minutes: float) -> threading.Thread:
    """A started daemon thread that unloads the model whenever it was idle for `minutes`."""
    seconds = minutes * 60

    def watch() -> None:
        while not residence.is_closed:
            time.sleep(min(seconds / 4, 10.0))
            residence.unload_if_idle(seconds)

    thread = threading.Thread(target=watch, name="idle-watch", daemon=True)
    thread.start()
    return thread
