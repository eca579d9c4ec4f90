from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from dspark_local.errors import UsageError
from dspark_local.server.app import create_app
from dspark_local.server.guard import MAX_BODY_BYTES, Access
from dspark_local.server.run import ServeOptions, run_server
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import FakeBackend

PATH = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def locked(backend: FakeBackend, start_worker: Callable[..., EngineWorker]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(start_worker(backend), Access("secret"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}, {"x-api-key": "sécret"}]
)
async def test_without_the_right_key_nothing_but_health_answers(
    locked: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    for response in (await locked.get("/v1/models", headers=raw), await locked.post(PATH, json=BODY, headers=raw)):
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert (await locked.get("/health", headers=raw)).json() == {"status": "ok"}


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer secret"}, {"x-api-key": "secret"}])
async def test_the_key_opens_both_ways_of_sending_it(locked: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await locked.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "evil@localhost", ""])
async def test_a_foreign_host_header_is_refused(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/v1/models", headers={"Host": host})).status_code in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:8484", "localhost:1", "[::1]:8484"])
async def test_the_names_of_loopback_are_accepted(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "file://"])
async def test_a_web_page_from_elsewhere_is_refused_and_gets_no_cors_headers(
    http: httpx.AsyncClient, origin: str
) -> None:
    response = await http.post(PATH, json=BODY, headers={"Origin": origin})
    assert response.status_code == 403
    assert not any(name.startswith("access-control") for name in response.headers)


async def test_a_page_served_from_loopback_is_accepted(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/models", headers={"Origin": "http://localhost:3000"})).status_code == 200


async def test_a_form_post_without_json_content_type_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post(PATH, content=b"{}", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


async def test_a_body_over_the_limit_is_refused_announced_or_not(http: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield b" " * 65536

    json_type = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BODY_BYTES + 1), pieces()):
        response = await http.post(PATH, content=content, headers=json_type)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_listening_beyond_loopback_without_a_key_is_refused_before_anything_loads(host: str) -> None:
    def load(progress: Any) -> FakeBackend:
        raise AssertionError("must not load")

    with pytest.raises(UsageError, match="API key"):
        run_server(load, ServeOptions(host=host))


async def test_paths_that_do_not_exist_and_wrong_methods_answer_in_openai_shape(http: httpx.AsyncClient) -> None:
    missing, wrong = await http.get("/v1/../etc/passwd"), await http.get(PATH)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
