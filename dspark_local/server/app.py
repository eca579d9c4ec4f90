"""The routes. Each one turns HTTP into a call on the worker and back, and holds no state of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished
from dspark_local.server.faults import RequestFaultError, error_body, error_response, fault_of_validation, json_response
from dspark_local.server.guard import Access, GuardMiddleware
from dspark_local.server.openai_chat import AnswerBuilder, ChunkWriter, speculation_asked, to_chat_request
from dspark_local.server.worker import EngineWorker, Job
from dspark_local.wire import (
    WireChatRequest,
    WireError,
    WireHealth,
    WireLoading,
    WireModelEntry,
    WireModelFacts,
    WireModelList,
)

KEEP_ALIVE_SECONDS = 10.0
_PING = b": still working\n\n"
_DONE = b"data: [DONE]\n\n"

log = logging.getLogger(__name__)


def create_app(worker: EngineWorker, access: Access, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> Starlette:
    """The application around a worker that was started, or will be, by the caller."""
    app = Starlette(
        routes=[
            Route("/health", _health, methods=["GET"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/v1/models/{model_id:path}", _model, methods=["GET"]),
            Route("/v1/chat/completions", _chat_completions, methods=["POST"]),
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


# ---- routes


async def _health(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    if worker.state == "ready":
        return json_response(WireHealth(status="ok").model_dump(exclude_none=True))
    failed = worker.failure is not None
    health = WireHealth(status="failed" if failed else "loading")
    # Anybody may ask whether the server is up; what it loads, and from where, is for those with the key.
    if request.app.state.access.admits_key(request.headers):
        if worker.failure is not None:
            failure = worker.failure
            health.error = WireError(message=failure.message, code=failure.code, hint=failure.hint)
        else:
            progress = worker.progress
            health.progress = WireLoading(
                stage=progress.stage, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes
            )
    headers = {} if failed else {"Retry-After": "1"}
    return json_response(health.model_dump(exclude_none=True), 503, headers)


async def _models(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    return json_response(WireModelList(data=[_entry(info)]).model_dump())


async def _model(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    if request.path_params["model_id"] != info.id:
        raise RequestFaultError("There is no such model here.", code="model_not_found", param="model")
    return json_response(_entry(info).model_dump())


async def _chat_completions(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    info = worker.ready_info()
    wire = await _parse_body(request)
    chat_request = to_chat_request(wire, info)
    speculation = speculation_asked(chat_request)
    job = worker.submit(chat_request)
    watcher = asyncio.create_task(_cancel_on_disconnect(request, job))
    try:
        if not wire.stream:
            return await _whole_answer(job, AnswerBuilder(info, speculation))
        keep_alive: float = request.app.state.keep_alive_seconds
        # An error that comes at once (a prompt too long) still gets its own HTTP status.
        first = await _next_item(job, keep_alive)
        if isinstance(first, DsparkError):
            raise first
        options = wire.stream_options
        writer = ChunkWriter(info, speculation, include_usage=options is not None and options.include_usage)
        stream = _stream(job, writer, first, keep_alive, watcher)
    except BaseException:
        job.cancel()
        watcher.cancel()
        raise
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


# ---- answering


async def _parse_body(request: Request) -> WireChatRequest:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise RequestFaultError("The body is not valid JSON.") from error
    try:
        return WireChatRequest.model_validate(body)
    except ValidationError as error:
        raise fault_of_validation(error) from error


async def _whole_answer(job: Job, builder: AnswerBuilder) -> Response:
    async for event in job.events():
        if isinstance(event, Finished):
            return json_response(builder.answer(event).model_dump(exclude_none=True))
        builder.add(event)
    raise AssertionError("a job ends with Finished or an error")


async def _stream(
    job: Job, writer: ChunkWriter, first: Event | None, keep_alive: float, watcher: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    item: Event | DsparkError | None = first
    try:
        yield _sse(writer.opening().payload())
        while True:
            if item is None:
                yield _PING
            elif isinstance(item, DsparkError):
                raise item
            else:
                for chunk in writer.chunks(item):
                    yield _sse(chunk.payload())
                if isinstance(item, Finished):
                    break
            item = await _next_item(job, keep_alive)
        yield _DONE
    except DsparkError as error:
        # Said aloud within the stream: clients take a stream that merely stops for a complete answer.
        yield _sse(error_body(error))
    finally:
        job.cancel()
        watcher.cancel()


async def _next_item(job: Job, timeout: float) -> Event | DsparkError | None:
    """The next arrival, or None when `timeout` seconds pass without one."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(job.arrivals.get(), timeout)
    return None


async def _cancel_on_disconnect(request: Request, job: Job) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()


def _sse(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _entry(info: ModelInfo) -> WireModelEntry:
    facts = WireModelFacts(
        context_length=info.context_length,
        is_demo=info.is_demo,
        draft_block_size=info.draft_block_size,
        device=info.device,
        dtype=info.dtype,
        numerics=info.numerics,
        weight_bytes=info.weight_bytes,
        recommended_temperature=info.recommended_temperature,
        recommended_top_p=info.recommended_top_p,
    )
    return WireModelEntry(id=info.id, dspark=facts)


# ---- errors


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DsparkError)
    return error_response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_value")
    return error_response(
        RequestFaultError(f"{error.detail}: {request.method} {request.scope['path'][:100]}", code=code)
    )


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("Unexpected error", exc_info=error)
    return error_response(DsparkError("The server failed on this request.", hint="Its log has the details."))
