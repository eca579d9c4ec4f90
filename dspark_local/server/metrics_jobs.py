"""From the events of jobs to metrics. Called by the event loop (queued) and the engine thread (everything else)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished, RoundDone, TextDelta, ToolCallStarted
from dspark_local.server.metrics import Metrics
from dspark_local.server.worker import Job


@dataclass(slots=True)
class JobProgress:
    """How far a job is. Times are those of the clock, in seconds; first_token_at is None before any text."""

    number: int
    queued_at: float
    started: bool = False
    first_token_at: float | None = None
    last_token_at: float | None = None
    context_used: int = 0
    decoded_tokens: int = 0


class JobMetrics:
    """An observer for EngineWorker.observers, and the Metrics that it feeds.

    Jobs are followed until they end, or until nobody holds them any more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._live: WeakKeyDictionary[Job, JobProgress] = WeakKeyDictionary()
        self._count = 0
        self.metrics = Metrics(
            waiting=lambda: sum(not job.started for job in self.live()),
            running=lambda: sum(job.started for job in self.live()),
        )

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the server began."""
        return self._clock() - self._began

    def live(self) -> list[JobProgress]:
        """Every job that has not ended, oldest first."""
        with self._lock:
            return list(self._live.values())

    def observe(self, job: Job, item: Event | DsparkError | None) -> None:
        """See worker.Observer."""
        now = self._clock()
        with self._lock:
            if item is None:
                self._count += 1
                self._live[job] = JobProgress(self._count, now)
                return
            progress = self._live.get(job)
            if progress is None:
                return
            if isinstance(item, DsparkError | Finished):
                del self._live[job]
        progress.started = True
        match item:
            case TextDelta() | ToolCallStarted() if progress.first_token_at is None:
                progress.first_token_at = progress.last_token_at = now
                self.metrics.first_token_seconds.observe(now - progress.queued_at)
            case RoundDone():
                self._round(item, progress, now)
            case Finished():
                self._finished(item)
            case DsparkError():
                self.metrics.requests.labels(item.code).inc()
            case _:
                pass

    def _round(self, done: RoundDone, progress: JobProgress, now: float) -> None:
        metrics = self.metrics
        tokens = done.accepted + 1
        progress.context_used = done.context_used
        progress.decoded_tokens += tokens
        if progress.last_token_at is not None:
            for _ in range(tokens):
                metrics.token_seconds.observe((now - progress.last_token_at) / tokens)
        progress.last_token_at = now
        metrics.passes.inc()
        if done.source != "none":
            metrics.drafted.labels(done.source).inc(len(done.draft_ids))
            metrics.verified.labels(done.source).inc(done.verified)
            metrics.accepted.labels(done.source).inc(done.accepted)
        for place in range(done.verified):
            metrics.verified_at.labels(str(place)).inc()
        for place in range(done.accepted):
            metrics.accepted_at.labels(str(place)).inc()
        metrics.speculation_on.set(done.speculation.phase == "on")
        if done.speculation.gain is not None:
            metrics.speculation_gain.set(done.speculation.gain)

    def _finished(self, finished: Finished) -> None:
        stats = finished.stats
        self.metrics.requests.labels(finished.reason).inc()
        self.metrics.prompt_tokens.inc(stats.prompt_tokens)
        self.metrics.cached_tokens.inc(stats.cached_tokens)
        self.metrics.generated_tokens.inc(stats.completion_tokens)
