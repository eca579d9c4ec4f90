"""POST /v1/completions, as OpenAI's clients speak it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.openai_completions import (
    CompletionWriter,
    check_completion,
    prompt_of,
    to_token_request,
)
from dspark_local.server.openai_settings import naming_fields
from dspark_local.server.routes.answering import stream_answer, whole_answer
from dspark_local.server.routes.body import parse_body
from dspark_local.server.schemas.completions import WireCompletionRequest
from dspark_local.server.worker import EngineWorker


async def _completions(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    info = worker.ready_info()
    wire = await parse_body(request, WireCompletionRequest)
    check_completion(wire, info)
    prompt = prompt_of(wire)
    ids = await worker.ask(lambda backend: backend.tokenize(prompt)) if isinstance(prompt, str) else prompt
    include_usage = wire.stream_options is not None and wire.stream_options.include_usage
    with naming_fields(top_logprobs="logprobs", schema="response_format", messages="prompt"):
        asked = to_token_request(wire, ids, info)
        writer = CompletionWriter(info, asked, include_usage=include_usage)
        if wire.stream:
            return await stream_answer(request, asked, writer)
        return await whole_answer(request, asked, writer)


ROUTES = [Route("/v1/completions", _completions, methods=["POST"])]
