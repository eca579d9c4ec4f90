"""The one thread that owns the engine: it loads the backend, then answers queued requests in turn.

Knows Backend and events, nothing of HTTP. Everything it tells the event loop goes through call_soon_threadsafe,
so a slow client never holds up the engine.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dspark_local.backend import Backend, LoadProgress, ModelInfo
from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.events import Event, Finished
from dspark_local.request import ChatRequest

log = logging.getLogger(__name__)

Loader = Callable[[Callable[[LoadProgress], None]], Backend]
"""Loads a backend and reports progress on the way. Raises DsparkError."""

Observer = Callable[["Job", Event | DsparkError | None], None]
"""Told of each job: None when it is queued, then everything delivered to it, before its reader gets it. Must be quick."""

WorkerState = Literal["loading", "ready", "failed", "stopped"]


class QueueFullError(DsparkError):
    """More requests are waiting than the queue holds."""

    code = "queue_full"


class ModelLoadingError(DsparkError):
    """The model is not loaded yet."""

    code = "model_loading"


@dataclass(eq=False)
class Job:
    """One request on its way through the worker. `arrivals` is read by the event loop that submitted it."""

    request: ChatRequest
    loop: asyncio.AbstractEventLoop
    observers: Sequence[Observer] = ()
    arrivals: asyncio.Queue[Event | DsparkError] = field(default_factory=asyncio.Queue)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask the engine to stop; it notices within one target pass. Safe from any thread, and more than once."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """True once cancel() was called."""
        return self._cancelled.is_set()

    def deliver(self, item: Event | DsparkError) -> None:
        """Hand an item to the event loop; called by the engine thread."""
        for observe in self.observers:
            observe(self, item)
        try:
            self.loop.call_soon_threadsafe(self.arrivals.put_nowait, item)
        except RuntimeError:  # the loop has closed: nobody is left to read
            self.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """Every event up to and including Finished. Raises the DsparkError that ended the job."""
        while True:
            item = await self.arrivals.get()
            if isinstance(item, DsparkError):
                raise item
            yield item
            if isinstance(item, Finished):
                return


class EngineWorker:
    """Loads with `loader` in its own thread and holds at most `queue_size` waiting requests.

    on_failure is called in that thread when loading fails.
    """

    def __init__(
        self, loader: Loader, *, queue_size: int = 8, on_failure: Callable[[DsparkError], None] = lambda error: None
    ) -> None:
        self._loader = loader
        self._on_failure = on_failure
        self._queue_size = queue_size
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self.state: WorkerState = "loading"
        self.progress = LoadProgress("starting", 0, 0)
        self.info: ModelInfo | None = None
        self.failure: DsparkError | None = None
        self.observers: list[Observer] = []

    def start(self) -> None:
        """Begin loading."""
        self._thread.start()

    def submit(self, request: ChatRequest) -> Job:
        """Queue a request; call from a running event loop.

        Raises ModelLoadingError, QueueFullError, or the error that loading ended with.
        """
        self.ready_info()
        job = Job(request, asyncio.get_running_loop(), self.observers)
        with self._changed:
            while self._waiting and self._waiting[0].is_cancelled():
                self._waiting.popleft()
            waiting = sum(not queued.is_cancelled() for queued in self._waiting)
            if waiting >= self._queue_size:
                raise QueueFullError(
                    f"{waiting} requests are already waiting, which is all the queue holds.",
                    hint="Try again in a moment.",
                )
            for observe in self.observers:
                observe(job, None)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def ready_info(self) -> ModelInfo:
        """Facts of the loaded model. Raises ModelLoadingError, or the error that loading ended with."""
        if self.failure is not None:
            raise self.failure
        if self.state == "stopped":
            raise EngineUnavailableError("The engine is shutting down.")
        if self.info is None:
            raise ModelLoadingError("The model is still loading.", hint="GET /health shows how far it is.")
        return self.info

    def stop(self, timeout: float = 5.0) -> bool:
        """Cancel everything, free the backend, end the thread; True if it ended within `timeout` seconds."""
        with self._changed:
            self._stopping = True
            for job in (*self._waiting, self._running):
                if job is not None:
                    job.cancel()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # ---- engine thread

    def _main(self) -> None:
        try:
            backend = self._loader(self._note_progress)
        except DsparkError as error:
            self._fail(error)
            return
        except Exception as error:  # a fault in loading must reach the person who waits, whatever it is
            log.exception("Loading the model failed")
            self._fail(DsparkError(f"Loading the model failed: {type(error).__name__}: {error}"))
            return
        self.info = backend.info
        self.state = "ready"
        log.info("Ready: %s, context %d tokens, on %s", self.info.id, self.info.context_length, self.info.device)
        try:
            while (job := self._next_job()) is not None:
                self._answer(backend, job)
        finally:
            self.state = "stopped"
            backend.close()

    def _note_progress(self, progress: LoadProgress) -> None:
        self.progress = progress

    def _fail(self, error: DsparkError) -> None:
        self.failure = error
        self.state = "failed"
        self._on_failure(error)

    def _next_job(self) -> Job | None:
        with self._changed:
            self._running = None
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if self._stopping:
                for job in self._waiting:
                    job.deliver(EngineUnavailableError("The engine is shutting down."))
                return None
            self._running = self._waiting.popleft()
            return self._running

    def _answer(self, backend: Backend, job: Job) -> None:
        if job.is_cancelled():
            job.deliver(Finished("cancelled", ()))
            return
        event: Event | None = None
        try:
            for event in backend.chat(job.request, job.is_cancelled):
                job.deliver(event)
            if not isinstance(event, Finished):
                job.deliver(DsparkError("The engine ended the answer without finishing it."))
        except DsparkError as error:
            job.deliver(error)
        except Exception as error:  # one failed request must not end the engine; the client is told
            log.exception("A request failed")
            message = f"The engine failed while answering: {type(error).__name__}: {error}"
            job.deliver(DsparkError(message, hint="The server's log has the details."))
