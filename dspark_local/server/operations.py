"""What the person who runs a server needs beside the API: metrics, loading and unloading."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware

from dspark_local.server.metrics_http import CountResponses
from dspark_local.server.metrics_jobs import JobMetrics
from dspark_local.server.residence import KeepLoaded, Residence
from dspark_local.server.routes import engine_facts, llama_cpp, metrics, residence
from dspark_local.server.worker import EngineWorker


def install_operations(
    app: Starlette,
    new_worker: Callable[[], EngineWorker],
    *,
    collector: Collector | None = None,
    slots: int = 1,
) -> Residence:
    """Add metrics, load, unload and llama.cpp's status routes to an app that has not served yet.

    new_worker makes the worker of each later loading; the first is the one in app.state.worker, not yet started.
    collector reads the engine. slots is how many answers the engine works on at once, for those who ask.
    """
    jobs = JobMetrics()
    if collector is not None:
        jobs.metrics.registry.register(collector)

    def observed_worker() -> EngineWorker:
        worker = new_worker()
        worker.observers.append(jobs.observe)
        return worker

    app.state.worker.observers.append(jobs.observe)
    app.state.jobs = jobs
    app.state.slots = slots
    app.state.engine = collector
    app.state.residence = owner = Residence(app.state, observed_worker)
    app.router.routes.extend([*metrics.ROUTES, *engine_facts.ROUTES, *residence.ROUTES, *llama_cpp.ROUTES])
    # Appended, so inside the guard: a request without the key neither loads a model nor counts as its use.
    app.user_middleware.append(Middleware(KeepLoaded, residence=owner))
    app.user_middleware.insert(0, Middleware(CountResponses, metrics=jobs.metrics))
    return owner
