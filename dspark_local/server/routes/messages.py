"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients and Claude Code speak them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterator

from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.errors import DsparkError
from dspark_local.events import Event, PrefillProgress
from dspark_local.server.anthropic_answer import MessageWriter, Payload, whole_message
from dspark_local.server.anthropic_faults import messages_error_body, messages_error_response, new_request_id
from dspark_local.server.anthropic_request import to_chat_request
from dspark_local.server.faults import json_response
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.anthropic import CountTokensRequest, MessagesRequest
from dspark_local.server.streaming import PING, cancel_on_disconnect, sse, stream_events
from dspark_local.server.worker import EngineWorker, Job

_PING_EVENT = sse({"type": "ping"}, "ping")

log = logging.getLogger(__name__)


async def _messages(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    info = worker.ready_info()
    wire = await parse_body(request, MessagesRequest)
    chat_request = to_chat_request(wire, info)
    request_id = new_request_id()
    job = worker.submit(chat_request)
    watcher = asyncio.create_task(cancel_on_disconnect(request, job))
    writer = MessageWriter(info, wire.max_tokens)

    def write(event: Event) -> Iterator[bytes]:
        for payload in writer.payloads(event):
            yield sse(payload, payload["type"])
        if isinstance(event, PrefillProgress):  # a long prompt has nothing else to show for minutes
            yield _PING_EVENT

    try:
        if not wire.stream:
            return json_response(await _whole_answer(job, writer), headers={"request-id": request_id})
        answer = await stream_events(
            request,
            job,
            watcher,
            opening=[],
            write=write,
            fail=lambda error: [sse(messages_error_body(error, request_id), "error")],
        )
    except BaseException:
        job.cancel()
        watcher.cancel()
        raise
    answer.headers["request-id"] = request_id
    answer.body_iterator = _with_ping_events(answer.body_iterator)
    return answer


async def _whole_answer(job: Job, writer: MessageWriter) -> Payload:
    return whole_message([payload async for event in job.events() for payload in writer.payloads(event)])


async def _with_ping_events(pieces: AsyncIterable[str | bytes | memoryview]) -> AsyncIterator[str | bytes | memoryview]:
    """Anthropic's clients know an event for what others keep alive with a comment."""
    async for piece in pieces:
        yield _PING_EVENT if piece == PING else piece


async def _count_tokens(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    info = worker.ready_info()
    wire = await parse_body(request, CountTokensRequest)
    count = await worker.token_count(to_chat_request(wire, info))
    return json_response({"input_tokens": count}, headers={"request-id": new_request_id()})


async def _root(request: Request) -> Response:
    """Claude Code asks for this before anything else, to see whether somebody is there."""
    return Response(headers={"Cache-Control": "no-store"})


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DsparkError)
    return messages_error_response(error)


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("Unexpected error", exc_info=error)
    return messages_error_response(DsparkError("The server failed on this request.", hint="Its log has the details."))


_ERRORS = [Middleware(ExceptionMiddleware, handlers={DsparkError: _on_error, Exception: _on_bug})]

ROUTES = [
    Route("/v1/messages", _messages, methods=["POST"], middleware=_ERRORS),
    Route("/v1/messages/count_tokens", _count_tokens, methods=["POST"], middleware=_ERRORS),
    Route("/", _root, methods=["GET"]),
]
