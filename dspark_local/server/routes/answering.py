"""From a checked request to its answer, streamed or whole, in the words of whichever protocol asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished
from dspark_local.request import ChatRequest, TokenRequest
from dspark_local.server.faults import json_response
from dspark_local.server.streaming import cancel_on_disconnect, stream_events
from dspark_local.server.worker import EngineWorker


class StreamWriter(Protocol):
    """Words a stream: its beginning, each event, and its end, good or bad, as server-sent events."""

    def opening(self) -> Iterable[bytes]:
        """What comes before any event."""
        ...

    def write(self, event: Event) -> Iterable[bytes]:
        """What an event says. Raises DsparkError when it cannot be told."""
        ...

    def fail(self, error: DsparkError) -> Iterable[bytes]:
        """What an error says that ends the stream."""
        ...

    def closing(self) -> Iterable[bytes]:
        """What comes after Finished."""
        ...


class AnswerBuilder(Protocol):
    """Words a whole answer."""

    def add(self, event: Event) -> None:
        """Take in any event before Finished."""
        ...

    def answer(self, finished: Finished) -> dict[str, Any]:
        """The JSON body. Raises DsparkError when the answer is not complete."""
        ...


async def stream_answer(request: Request, asked: ChatRequest | TokenRequest, writer: StreamWriter) -> Response:
    """Submit and stream; the job is cancelled when the client goes away."""
    worker: EngineWorker = request.app.state.worker
    job = worker.submit(asked)
    watcher = asyncio.create_task(cancel_on_disconnect(request, job))
    try:
        return await stream_events(
            request,
            job,
            watcher,
            opening=writer.opening(),
            write=writer.write,
            fail=writer.fail,
            closing=writer.closing(),
        )
    except BaseException:
        job.cancel()
        watcher.cancel()
        raise


async def whole_answer(request: Request, asked: ChatRequest | TokenRequest, builder: AnswerBuilder) -> Response:
    """Submit and wait for the end; the job is cancelled when the client goes away."""
    worker: EngineWorker = request.app.state.worker
    job = worker.submit(asked)
    watcher = asyncio.create_task(cancel_on_disconnect(request, job))
    try:
        async for event in job.events():
            if isinstance(event, Finished):
                return json_response(builder.answer(event))
            builder.add(event)
    finally:
        job.cancel()
        watcher.cancel()
    raise AssertionError("a job ends with Finished or an error")
