"""POST /v1/chat/completions, as OpenAI's clients speak it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.events import Event, Finished
from dspark_local.server.faults import error_body, json_response
from dspark_local.server.openai_chat import AnswerBuilder, ChunkWriter, speculation_asked, to_chat_request
from dspark_local.server.routes.body import parse_body
from dspark_local.server.streaming import cancel_on_disconnect, sse, stream_events
from dspark_local.server.worker import EngineWorker, Job
from dspark_local.wire import WireChatRequest

_DONE = b"data: [DONE]\n\n"


async def _chat_completions(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    info = worker.ready_info()
    wire = await parse_body(request, WireChatRequest)
    chat_request = to_chat_request(wire, info)
    speculation = speculation_asked(chat_request)
    job = worker.submit(chat_request)
    watcher = asyncio.create_task(cancel_on_disconnect(request, job))
    try:
        if not wire.stream:
            return await _whole_answer(job, AnswerBuilder(info, speculation))
        options = wire.stream_options
        writer = ChunkWriter(info, speculation, include_usage=options is not None and options.include_usage)

        def write(event: Event) -> Iterator[bytes]:
            return (sse(chunk.payload()) for chunk in writer.chunks(event))

        return await stream_events(
            request,
            job,
            watcher,
            opening=[sse(writer.opening().payload())],
            write=write,
            fail=lambda error: [sse(error_body(error))],
            closing=[_DONE],
        )
    except BaseException:
        job.cancel()
        watcher.cancel()
        raise


async def _whole_answer(job: Job, builder: AnswerBuilder) -> Response:
    async for event in job.events():
        if isinstance(event, Finished):
            return json_response(builder.answer(event).model_dump(exclude_none=True))
        builder.add(event)
    raise AssertionError("a job ends with Finished or an error")


ROUTES = [Route("/v1/chat/completions", _chat_completions, methods=["POST"])]
