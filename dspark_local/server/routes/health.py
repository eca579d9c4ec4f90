"""GET /health: up, loading, or failed and why. A model that was unloaded is up: the next request loads it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.faults import json_response
from dspark_local.server.private_paths import for_clients
from dspark_local.server.residence import presence_of
from dspark_local.server.worker import EngineWorker
from dspark_local.wire import WireError, WireHealth, WireLoading


async def _health(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    if presence_of(request.app.state) in ("loaded", "unloaded"):
        return json_response(WireHealth(status="ok").model_dump(exclude_none=True))
    failed = worker.failure is not None
    health = WireHealth(status="failed" if failed else "loading")
    # Anybody may ask whether the server is up; what it loads, and from where, is for those with the key.
    if request.app.state.access.admits_key(request.headers):
        if worker.failure is not None:
            failure = for_clients(worker.failure)
            health.error = WireError(message=failure.message, code=failure.code, hint=failure.hint)
            health.error.fitting_context = getattr(failure, "fitting_context", None)
        else:
            progress = worker.progress
            health.progress = WireLoading(
                stage=progress.stage, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes
            )
    headers = {} if failed else {"Retry-After": "1"}
    return json_response(health.model_dump(exclude_none=True), 503, headers)


ROUTES = [Route("/health", _health, methods=["GET"])]
