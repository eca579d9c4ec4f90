"""A stream that is asked for while the model comes back is opened at once and kept alive until there is an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dspark_local.server.streaming import PING, sse

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


async def answer_when_awake(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, wait: Callable[[], Awaitable[None]], every: float
) -> None:
    """Run `app` after `wait`, with pings to a client that asked for a stream and has waited `every` seconds.

    Once a ping is sent the status is; an answer other than 200 is then told as an event, as errors in streams are.
    """
    waiting = asyncio.ensure_future(wait())
    try:
        await asyncio.wait({waiting}, timeout=every)
        if waiting.done():
            await waiting
            await app(scope, receive, send)
            return
        messages = await _whole_body(receive)
        if not _asks_for_stream(messages):
            await waiting
            await app(scope, _replayed(messages, receive), send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        while not waiting.done():
            await send({"type": "http.response.body", "body": PING, "more_body": True})
            await asyncio.wait({waiting}, timeout=every)
        await waiting
        await app(scope, _replayed(messages, receive), _continuing(send))
    finally:
        waiting.cancel()


async def _whole_body(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _asks_for_stream(messages: list[Message]) -> bool:
    try:
        body = json.loads(b"".join(message.get("body", b"") for message in messages))
    except (ValueError, RecursionError):  # the application says what is wrong with it
        return False
    return isinstance(body, dict) and body.get("stream") is True


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    rest = iter(messages)

    async def replay() -> Message:
        return next(rest, None) or await receive()

    return replay


def _continuing(send: Send) -> Send:
    """Drops the application's own start; what it answers with another status than 200 becomes an error event."""
    refusal: bytearray | None = None

    async def onward(message: Message) -> None:
        nonlocal refusal
        if message["type"] == "http.response.start":
            refusal = None if message["status"] == 200 else bytearray()
        elif refusal is None:
            await send(message)
        else:
            refusal.extend(message.get("body", b""))
            if not message.get("more_body", False):
                told: dict[str, Any] = json.loads(refusal)
                await send({"type": "http.response.body", "body": sse(told, "error"), "more_body": False})

    return onward
