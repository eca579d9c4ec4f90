"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients and Claude Code speak them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator

from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dspark_local.errors import DsparkError
from dspark_local.server.anthropic_faults import messages_error_response, new_request_id
from dspark_local.server.anthropic_request import to_chat_request
from dspark_local.server.anthropic_writing import PING_EVENT, MessageStream, WholeMessage
from dspark_local.server.faults import json_response
from dspark_local.server.routes.answering import stream_answer, whole_answer
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.anthropic import CountTokensRequest, MessagesRequest
from dspark_local.server.streaming import PING
from dspark_local.server.worker import EngineWorker

log = logging.getLogger(__name__)


async def _messages(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    wire = await parse_body(request, MessagesRequest)
    asked = to_chat_request(wire, info)
    request_id = new_request_id()
    if wire.stream:
        answer = await stream_answer(request, asked, MessageStream(info, wire.max_tokens, request_id))
        if isinstance(answer, StreamingResponse):
            answer.body_iterator = _with_ping_events(answer.body_iterator)
    else:
        answer = await whole_answer(request, asked, WholeMessage(info, wire.max_tokens))
    answer.headers["request-id"] = request_id
    return answer


async def _with_ping_events(pieces: AsyncIterable[str | bytes | memoryview]) -> AsyncIterator[str | bytes | memoryview]:
    """Anthropic's clients know an event for what others keep alive with a comment."""
    async for piece in pieces:
        yield PING_EVENT if piece == PING else piece


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
