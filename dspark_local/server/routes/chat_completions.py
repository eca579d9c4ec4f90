"""POST /v1/chat/completions, as OpenAI's clients speak it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.openai_chat import to_chat_request
from dspark_local.server.openai_chat_answer import ChatAnswerBuilder, ChunkWriter
from dspark_local.server.routes.answering import stream_answer, whole_answer
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.chat import WireChatRequest


async def _chat_completions(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    wire = await parse_body(request, WireChatRequest)
    asked = to_chat_request(wire, info)
    if not wire.stream:
        return await whole_answer(request, asked, ChatAnswerBuilder(info, asked))
    include_usage = wire.stream_options is not None and wire.stream_options.include_usage
    return await stream_answer(request, asked, ChunkWriter(info, asked, include_usage=include_usage))


ROUTES = [Route("/v1/chat/completions", _chat_completions, methods=["POST"])]
