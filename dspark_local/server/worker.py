"""The one thread that owns the engine: it loads the backend, then answers as many requests at once as that can.

Knows Backend and events, nothing of HTTP. Everything it tells the event loop goes through call_soon_threadsafe,
so a slow client never holds up the engine.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeVar

from dspark_local.backend import Backend, BatchingBackend, LoadProgress, ModelInfo
from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.events import Event, Finished
from dspark_local.request import ChatRequest, TokenRequest
from dspark_local.server.errand import Errand
from dspark_local.server.job import Job, ModelLoadingError, QueueFullError
from dspark_local.server.one_at_a_time import OneAtATime, batching
from dspark_local.server.private_paths import for_clients

__all__ = ["EngineWorker", "Job", "Loader", "ModelLoadingError", "Observer", "QueueFullError", "WorkerState"]

log = logging.getLogger(__name__)

Loader = Callable[[Callable[[LoadProgress], None]], Backend]
"""Loads a backend and reports progress on the way. Raises DsparkError."""

WorkerState = Literal["loading", "ready", "failed", "stopped"]

Observer = Callable[[Job, Event | DsparkError | None], None]
"""Told of each job: None when it is queued, then all that is delivered to it, before its reader gets it. Be quick."""

_Result = TypeVar("_Result")


class EngineWorker:
    """Loads with `loader` in its own thread and holds at most `queue_size` waiting requests, first come first served.

    on_failure is called in that thread when loading fails. `observers` may be added to before start. `failure` is for
    the person at this computer; what jobs and callers get as an error names no folder of it.
    """

    def __init__(
        self, loader: Loader, *, queue_size: int = 8, on_failure: Callable[[DsparkError], None] = lambda error: None
    ) -> None:
        self._loader = loader
        self._on_failure = on_failure
        self._queue_size = queue_size
        self._waiting: deque[Job] = deque()
        self._errands: deque[Errand] = deque()
        self._running: dict[int, Job] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self.observers: list[Observer] = []
        self.state: WorkerState = "loading"
        self.progress = LoadProgress("starting", 0, 0)
        self.info: ModelInfo | None = None
        self.failure: DsparkError | None = None

    def start(self) -> None:
        """Begin loading."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue whose clients are still there."""
        with self._changed:
            return sum(not job.is_cancelled() for job in self._waiting)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        with self._changed:
            return len(self._running)

    def submit(self, request: ChatRequest | TokenRequest) -> Job:
        """Queue a request; call from a running event loop.

        Raises ModelLoadingError, QueueFullError, or the error that loading ended with.
        """
        self.ready_info()
        job = Job(request, asyncio.get_running_loop())
        with self._changed:
            if self._stopping:
                raise _shutting_down()
            while self._waiting and self._waiting[0].is_cancelled():
                self._deliver(self._waiting.popleft(), Finished("cancelled", ()))  # a handler may still wait for it
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

    async def token_count(self, request: ChatRequest) -> int:
        """How many tokens the conversation has once encoded. Raises as submit, and DsparkError for a wrong request."""
        return await self.ask(lambda backend: backend.count_prompt_tokens(request))

    async def ask(self, work: Callable[[Backend], _Result]) -> _Result:
        """What `work` makes of the backend, in the engine thread between two steps: it has to be quick.

        Raises what it raises, ModelLoadingError, EngineUnavailableError, or the error that loading ended with.
        """
        self.ready_info()
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._stopping:
                raise _shutting_down()
            self._errands.append(Errand(work, future))
            self._changed.notify()
        return await future

    def ready_info(self) -> ModelInfo:
        """Facts of the loaded model. Raises ModelLoadingError, or the error that loading ended with."""
        if self.failure is not None:
            raise for_clients(self.failure)
        if self.state == "stopped":
            raise _shutting_down()
        if self.info is None:
            raise ModelLoadingError("The model is still loading.", hint="GET /health shows how far it is.")
        return self.info

    def stop(self, timeout: float = 5.0) -> bool:
        """Cancel everything, free the backend, end the thread; True if it ended within `timeout` seconds."""
        with self._changed:
            self._stopping = True
            for job in (*self._waiting, *self._running.values()):
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
        batch = batching(backend)
        try:
            while self._work_comes():
                self._run_errands(backend)
                self._admit(batch)
                self._step(batch)
        finally:
            self.state = "stopped"
            self._turn_everybody_away()
            backend.close()

    def _note_progress(self, progress: LoadProgress) -> None:
        self.progress = progress

    def _fail(self, error: DsparkError) -> None:
        self.failure = error
        self.state = "failed"
        self._on_failure(error)

    def _work_comes(self) -> bool:
        """Wait for work; False when it is time to end. Answers under way, all cancelled by then, still say so."""
        with self._changed:
            while not (self._waiting or self._errands or self._running or self._stopping):
                self._changed.wait()
            return bool(self._running) or not self._stopping

    def _run_errands(self, backend: Backend) -> None:
        with self._changed:
            errands, self._errands = self._errands, deque()
        for errand in errands:
            errand.run(backend)

    def _admit(self, batch: BatchingBackend | OneAtATime) -> None:
        while (job := self._next_job(batch.slots)) is not None:
            if job.is_cancelled():
                self._deliver(job, Finished("cancelled", ()))
                continue
            try:
                number = batch.begin(job.request, job.is_cancelled)
            except DsparkError as error:
                self._deliver(job, error)
            except Exception as error:  # one failed request must not end the engine; the client is told
                log.exception("A request failed")
                self._deliver(job, _failure(error))
            else:
                with self._changed:
                    self._running[number] = job
                    if self._stopping:
                        job.cancel()

    def _next_job(self, slots: int) -> Job | None:
        with self._changed:
            if self._stopping or not self._waiting or len(self._running) >= slots:
                return None
            return self._waiting.popleft()

    def _step(self, batch: BatchingBackend | OneAtATime) -> None:
        try:
            for number, item in batch.step():
                job = self._running[number]
                if isinstance(item, Finished | DsparkError):
                    with self._changed:
                        del self._running[number]
                self._deliver(job, item)
        except Exception as error:
            log.exception("A step failed, and with it all requests under way")
            failure = _failure(error)
            with self._changed:
                lost, self._running = list(self._running.values()), {}
            for job in lost:
                self._deliver(job, failure)

    def _deliver(self, job: Job, item: Event | DsparkError) -> None:
        if isinstance(item, DsparkError):
            item = for_clients(item)
        for observe in self.observers:
            observe(job, item)
        job.deliver(item)

    def _turn_everybody_away(self) -> None:
        with self._changed:
            jobs = [*self._running.values(), *self._waiting]
            errands = list(self._errands)
            self._running, self._waiting, self._errands, self._stopping = {}, deque(), deque(), True
        for job in jobs:
            self._deliver(job, _shutting_down())
        for errand in errands:
            errand.fail(_shutting_down())


def _shutting_down() -> EngineUnavailableError:
    return EngineUnavailableError("The engine is shutting down.")


def _failure(error: Exception) -> DsparkError:
    message = f"The engine failed while answering: {type(error).__name__}: {str(error).rstrip('.')}."
    return DsparkError(message, hint="The server's log has the details.")
