"""POST /v1/chat/completions, as OpenAI's clients speak it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.openai_chat import to_chat_request
from dspark_local.server.openai_chat_answer import ChatAnswerBuilder, ChunkWriter
from dspark_local.server.openai_settings import naming_fields
from dspark_local.server.routes.answering import stream_answer, whole_answer
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.chat import WireChatRequest


async def _chat_completions(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    wire = await parse_body(request, WireChatRequest)
    include_usage = wire.stream_options is not None and wire.stream_options.include_usage
    with naming_fields(schema="response_format" if wire.response_format is not None else "tools"):
        asked = to_chat_request(wire, info)
        if wire.stream:
            token_texts = wire.dspark is not None and wire.dspark.token_texts
            writer = ChunkWriter(info, asked, include_usage=include_usage, token_texts=token_texts)
            return await stream_answer(request, asked, writer)
        return await whole_answer(request, asked, ChatAnswerBuilder(info, asked))


ROUTES = [Route("/v1/chat/completions", _chat_completions, methods=["POST"])]
