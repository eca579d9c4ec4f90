"""Server-sent events, and waiting for an engine that may be slow without losing sight of the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished
from dspark_local.server.worker import Job

PING = b": still working\n\n"


def sse(payload: dict[str, Any], event: str | None = None) -> bytes:
    """One event with a JSON body; `event` names its type for protocols that want it."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def next_item(job: Job, timeout: float) -> Event | DsparkError | None:
    """The next arrival, or None when `timeout` seconds pass without one."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(job.arrivals.get(), timeout)
    return None


async def cancel_on_disconnect(request: Request, job: Job) -> None:
    """Cancel the job when the client goes away; to be run as a task beside the answer, and cancelled after it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()


async def stream_events(
    request: Request,
    job: Job,
    watcher: asyncio.Task[None],
    *,
    opening: Iterable[bytes],
    write: Callable[[Event], Iterable[bytes]],
    fail: Callable[[DsparkError], Iterable[bytes]],
    closing: Iterable[bytes] = (),
) -> StreamingResponse:
    """The answer of a job as a stream: opening, what `write` makes of each event, closing.

    An error that comes before the first event (a prompt too long) is raised, so that it gets an HTTP status of its own;
    a later one is said within the stream, as `fail` words it, because clients take a stream that merely stops for a
    complete answer. Pings keep the connection alive while nothing comes.
    """
    keep_alive: float = request.app.state.keep_alive_seconds
    first = await next_item(job, keep_alive)
    if isinstance(first, DsparkError):
        raise first

    async def body() -> AsyncIterator[bytes]:
        item: Event | DsparkError | None = first
        try:
            for piece in opening:
                yield piece
            while True:
                if item is None:
                    yield PING
                elif isinstance(item, DsparkError):
                    raise item
                else:
                    for piece in write(item):
                        yield piece
                    if isinstance(item, Finished):
                        break
                item = await next_item(job, keep_alive)
            for piece in closing:
                yield piece
        except DsparkError as error:
            for piece in fail(error):
                yield piece
        finally:
            job.cancel()
            watcher.cancel()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body(), media_type="text/event-stream", headers=headers)
