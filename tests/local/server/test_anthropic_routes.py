"""/v1/messages on the wire: what the official client does not show."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from tests.tui.fake_engine import FakeBackend

BODY: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "echo one two"}],
}


@pytest.fixture
async def guarded(backend: FakeBackend, start_worker: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(start_worker(backend), Access("secret"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def told(text: str) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for block in text.strip().split("\n\n"):
        name, _, data = block.partition("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def test_the_events_of_a_stream_come_in_anthropics_order(http: httpx.AsyncClient) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = await http.post("/v1/messages?beta=true", json=BODY | {"stream": True, "thinking": thinking})
    events = [(name, data) for name, data in told(answer.text) if name != "ping"]
    assert all(name == data["type"] for name, data in events)
    order = [
        (data.get("content_block") or data.get("delta") or {}).get("type", name) + f" {data.get('index', '')}".rstrip()
        for name, data in events
    ]
    assert list(dict.fromkeys(order)) == [
        "message_start",
        "thinking 0",
        "thinking_delta 0",
        "signature_delta 0",
        "content_block_stop 0",
        "text 1",
        "text_delta 1",
        "content_block_stop 1",
        "message_delta",
        "message_stop",
    ]
    assert answer.headers["request-id"].startswith("req_")


async def test_cached_tokens_are_told_apart_from_read_ones(http: httpx.AsyncClient) -> None:
    usage = (await http.post("/v1/messages", json=BODY)).json()["usage"]
    assert usage["cache_read_input_tokens"] == 0
    assert usage["cache_creation_input_tokens"] == 0
    assert usage["output_tokens"] == 2


async def test_the_root_is_answered_because_agents_ask_for_it_first(http: httpx.AsyncClient) -> None:
    assert (await http.head("/")).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        ({"json": BODY}, 401, "authentication_error"),
        ({"json": BODY, "headers": {"x-api-key": "wrong"}}, 401, "authentication_error"),
        ({"content": "{}", "headers": {"x-api-key": "secret"}}, 415, "invalid_request_error"),
        ({"json": BODY, "headers": {"x-api-key": "secret", "origin": "http://evil.example"}}, 403, "permission_error"),
        ({"json": {}, "headers": {"x-api-key": "secret"}}, 400, "invalid_request_error"),
        ({"json": BODY | {"model": "x"}, "headers": {"x-api-key": "secret"}}, 404, "not_found_error"),
        ({"json": {"x": "y" * 9_000_000}, "headers": {"x-api-key": "secret"}}, 413, "request_too_large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_errors_have_anthropics_shape_on_these_routes(
    guarded: httpx.AsyncClient, path: str, sent: dict[str, Any], status: int, kind: str
) -> None:
    answer = await guarded.post(path, **sent)
    body = answer.json()
    assert (answer.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == answer.headers["request-id"]


async def test_elsewhere_errors_keep_openais_shape(guarded: httpx.AsyncClient) -> None:
    assert set((await guarded.post("/v1/chat/completions", json={})).json()) == {"error"}


async def test_a_body_without_announced_length_is_cut_off_too(guarded: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 65_536

    headers = {"x-api-key": "secret", "content-type": "application/json"}
    answer = await guarded.post("/v1/messages", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


async def test_a_wrong_field_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", json=BODY | {"messages": [{"role": "robot", "content": "x"}]})
    assert answer.json()["error"]["message"].startswith("messages.0.role: ")


@pytest.mark.parametrize(("field", "value"), [("max_tokens", 0), ("temperature", -1), ("top_k", -5), ("top_p", 2)])
async def test_settings_out_of_range_are_refused_by_name(http: httpx.AsyncClient, field: str, value: float) -> None:
    answer = await http.post("/v1/messages", json=BODY | {field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"{field} is {value}")


async def test_every_step_of_the_prefill_is_a_ping(http: httpx.AsyncClient) -> None:
    events = told((await http.post("/v1/messages", json=BODY | {"stream": True})).text)
    assert [name for name, _ in events[:4]] == ["message_start", "ping", "ping", "content_block_start"]
