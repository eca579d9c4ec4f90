"""The application: routes, guards, and what an error looks like."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response

from dspark_local.errors import DsparkError
from dspark_local.server.anthropic_faults import error_response_for
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.guard import Access, GuardMiddleware
from dspark_local.server.routes import chat_completions, completions, health, messages, models, openapi, responses
from dspark_local.server.worker import EngineWorker

KEEP_ALIVE_SECONDS = 10.0

log = logging.getLogger(__name__)


def create_app(worker: EngineWorker, access: Access, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> Starlette:
    """The application around a worker that was started, or will be, by the caller."""
    app = Starlette(
        routes=[
            *health.ROUTES,
            *models.ROUTES,
            *chat_completions.ROUTES,
            *completions.ROUTES,
            *responses.ROUTES,
            *messages.ROUTES,
            *openapi.ROUTES,
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(access.hosts), www_redirect=False),
            Middleware(GuardMiddleware, access=access),
        ],
        exception_handlers={DsparkError: _on_error, HTTPException: _on_http_error, Exception: _on_bug},
    )
    app.state.worker = worker
    app.state.access = access
    app.state.keep_alive_seconds = keep_alive_seconds
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DsparkError)
    return error_response_for(request.scope["path"], error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path: str = request.scope["path"]
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_value")
    response = error_response_for(path, RequestFaultError(f"{error.detail}: {request.method} {path[:100]}", code=code))
    response.headers.update(error.headers or {})  # Allow, which a 405 has to carry
    return response


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("Unexpected error", exc_info=error)
    bug = DsparkError("The server failed on this request.", hint="Its log has the details.")
    return error_response_for(request.scope["path"], bug)
