"""What must not stall, and what clients are told meanwhile: reloads, an unread log, failures, first requests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from dspark_local.errors import CheckpointError, OutOfMemoryError
from dspark_local.server.app import create_app
from dspark_local.server.faults import error_response
from dspark_local.server.guard import Access, GuardMiddleware
from dspark_local.server.operations import install_operations
from dspark_local.server.private_paths import without_folders
from dspark_local.server.residence import ModelBusyError, Residence
from dspark_local.server.steady_log import SteadyHandler
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import ANSWER, FakeBackend

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


# ---- reloading


class Sleeper:
    """An application whose model was unloaded; `seconds` and `failure` are those of the next loading."""

    def __init__(self) -> None:
        self.seconds, self.failure = 0.0, None
        first = EngineWorker(self.load)
        self.app = create_app(first, Access(None), keep_alive_seconds=0.05)
        self.residence: Residence = install_operations(self.app, lambda: EngineWorker(self.load))
        first.start()
        while first.state == "loading":
            time.sleep(0.001)
        self.residence.unload()
        self.seconds = 0.4

    def load(self, progress: Any) -> FakeBackend:
        time.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return FakeBackend()


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    made = Sleeper()
    yield made
    assert made.residence.close(5.0)


async def stream_of(app: Any, path: str, **body: Any) -> bytes:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        client.stream("POST", path, json={"stream": True, **body}) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return await response.aread()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, HELLO),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/messages", {"model": "claude-x", "max_tokens": 300, **HELLO}),
    ],
)
async def test_a_stream_is_kept_alive_while_the_model_comes_back(
    sleeper: Sleeper, path: str, body: dict[str, Any]
) -> None:
    said = await stream_of(sleeper.app, path, **body)
    assert said.startswith(b": still working\n\n" * 2)
    events = [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: {")]
    assert len(events) > 2
    assert not any("error" in event and event["error"] for event in events)


async def test_a_failed_reload_within_an_open_stream_raises_in_official_clients(sleeper: Sleeper) -> None:
    sleeper.failure = OutOfMemoryError("6 GiB are missing.", hint="Close something.")
    transport = httpx.ASGITransport(sleeper.app, raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport)
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="x", http_client=http, max_retries=0)
    with pytest.raises(openai.APIError, match="6 GiB are missing"):
        async for _ in await client.chat.completions.create(model="m", stream=True, **HELLO):  # type: ignore[call-overload]
            pass
    http2 = httpx2.AsyncClient(transport=httpx2.ASGITransport(sleeper.app, raise_app_exceptions=False))
    claude = anthropic.AsyncAnthropic(base_url="http://127.0.0.1", api_key="x", http_client=http2, max_retries=0)
    with pytest.raises(anthropic.APIError, match="6 GiB are missing"):
        async for _ in await claude.messages.create(model="claude-x", max_tokens=9, stream=True, **HELLO):  # type: ignore[call-overload]
            pass


async def test_a_whole_answer_still_waits_and_keeps_its_status(sleeper: Sleeper) -> None:
    transport = httpx.ASGITransport(sleeper.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post(CHAT, json=HELLO)
        assert response.json()["choices"][0]["message"]["content"] == ANSWER


# ---- a log that nobody reads


def test_lines_for_a_pipe_that_nobody_reads_hold_nobody_up_and_are_counted() -> None:
    read, write = os.pipe()
    handler = SteadyHandler(write, most_lines=50)
    record = logging.makeLogRecord({"msg": "x" * 1000, "levelname": "INFO"})
    started = time.monotonic()
    for _ in range(500):
        handler.emit(record)
    assert time.monotonic() - started < 1.0
    said = b""
    deadline = time.monotonic() + 10
    while b"lines were left out" not in said:
        assert time.monotonic() < deadline
        said += os.read(read, 65536)
        handler.emit(record)
    handler.flush()
    os.close(read)
    handler.emit(record)  # the reader has gone for good
    handler.flush()
    os.close(write)


# ---- what agents ask first, and what errors look like


@pytest.fixture
async def locked(backend: FakeBackend, start_worker: Callable[..., EngineWorker]) -> Any:
    app = create_app(start_worker(backend), Access("secret"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whoever_asks_at_the_root_learns_that_somebody_is_there_and_nothing_else(
    locked: httpx.AsyncClient, method: str
) -> None:
    response = await locked.request(method, "/")
    assert (response.status_code, response.content) == (200, b"")
    assert set(response.headers) <= {"cache-control", "content-length"}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/messages/batches", 404, "not_found_error"),
        ("POST", "/v1/messages/none", 404, "not_found_error"),
    ],
)
async def test_what_is_missing_under_messages_is_told_in_anthropics_shape(
    http: httpx.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    response = await http.request(method, path, json={} if method == "POST" else None)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert response.json()["type"] == "error"
    assert response.headers["request-id"] == response.json()["request_id"]


async def test_a_method_that_is_not_served_names_those_that_are(http: httpx.AsyncClient) -> None:
    assert (await http.get(CHAT)).headers["allow"] == "POST"


async def test_a_body_that_stops_coming_is_408_and_a_busy_model_409_that_is_not_repeated(
    backend: FakeBackend, start_worker: Callable[..., EngineWorker]
) -> None:
    async def stalled() -> Any:
        yield b"{"
        await asyncio.sleep(3600)

    app = GuardMiddleware(create_app(start_worker(backend), Access(None)), Access(None), body_seconds=0.05)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        json_type = {"Content-Type": "application/json"}
        assert (await client.post(CHAT, content=stalled(), headers=json_type)).status_code == 408
    busy = error_response(ModelBusyError("2 requests are running."))
    assert (busy.status_code, busy.headers["x-should-retry"]) == (409, "false")


# ---- failures


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ann/models/v4/part-2.safetensors ends early.", "part-2.safetensors ends early."),
        ("[Errno 2] No such file: '/home/ann lee/My Models/a.json'", "[Errno 2] No such file: 'a.json'"),
        (f"{Path.home()}/models/v4 is empty (see {Path.home()}/log.txt)", "v4 is empty (see log.txt)"),
        (r"C:\Users\Ann\v4\a.json is gone", "a.json is gone"),
        ("GET /health shows how far it is; 3/4 and/or https://example.org/a/b", None),
    ],
)
def test_a_failure_names_files_but_no_folder(text: str, told: str | None) -> None:
    assert without_folders(text) == (text if told is None else told)


async def test_a_failed_load_is_told_to_clients_without_the_folder_and_kept_whole_for_the_owner() -> None:
    error = CheckpointError("/home/ann/v4/part-2.safetensors ends early.", hint="See /home/ann/v4/notes.txt.")

    def load(progress: Any) -> FakeBackend:
        raise error

    worker = EngineWorker(load)
    worker.start()
    while worker.state == "loading":
        await asyncio.sleep(0.001)
    transport = httpx.ASGITransport(create_app(worker, Access(None)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post(CHAT, json=HELLO)
    assert "ann" not in response.text
    assert response.json()["error"]["message"].startswith("part-2.safetensors ends early.")
    assert worker.failure is error


async def test_a_failed_step_is_told_without_the_folder(
    start_worker: Callable[..., EngineWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FakeBackend, request: Any, cancelled: Any) -> Any:
        raise OSError(5, "Input/output error", "/home/ann/v4/part-2.safetensors")

    monkeypatch.setattr(FakeBackend, "chat", broken)
    transport = httpx.ASGITransport(create_app(start_worker(FakeBackend()), Access(None)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 500
    assert "part-2.safetensors" in response.text
    assert "ann" not in response.text


async def test_a_conversation_of_ten_thousand_messages_is_answered(http: httpx.AsyncClient) -> None:
    turns = [{"role": role, "content": "Yes."} for _ in range(5_000) for role in ("user", "assistant")]
    messages = [*turns[:-1], {"role": "user", "content": "hello"}]
    for path, body in (
        (CHAT, {"messages": messages}),
        ("/v1/messages", {"messages": messages, "model": "claude-x", "max_tokens": 9}),
        ("/v1/responses", {"input": messages}),
    ):
        response = await http.post(path, json=body)
        assert response.status_code == 200, response.text[:300]
