"""POST /v1/responses, as OpenAI's clients and coding agents speak it. Nothing is stored."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.openai_responses import to_chat_request
from dspark_local.server.openai_responses_answer import ResponseWriter
from dspark_local.server.openai_settings import naming_fields
from dspark_local.server.routes.answering import stream_answer, whole_answer
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.responses_request import WireResponseRequest


async def _responses(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    wire = await parse_body(request, WireResponseRequest)
    schema = "text.format" if wire.text is not None else "tools"
    with naming_fields(max_tokens="max_output_tokens", schema=schema, messages="input"):
        asked = to_chat_request(wire, info)
        writer = ResponseWriter(info, wire, asked)
        if wire.stream:
            return await stream_answer(request, asked, writer)
        return await whole_answer(request, asked, writer)


ROUTES = [Route("/v1/responses", _responses, methods=["POST"])]
