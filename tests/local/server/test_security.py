"""One test, or more, for each way in which servers of local models have been broken into or brought down.

The CVEs named are of other programs. Everything here goes through the whole application.
"""

from __future__ import annotations

import gzip
import hmac
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from dspark_local.server import guard
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.operations import install_operations
from dspark_local.server.routes.body import MAX_DEPTH
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import ANSWER, FakeBackend

CHAT = "/v1/chat/completions"
KEY = "sk-local-8f3a"
GOOD = {"messages": [{"role": "user", "content": "hi"}]}
JSON = {"Content-Type": "application/json"}

# Python cannot remove an audit hook, so there is one for the whole run, which only listens inside a `with`.
_heard: list[tuple[str, str]] = []
_listening = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        _heard.append((event, str(arguments)))


sys.addaudithook(_listen)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str]]]:
    """Files opened, names resolved, connections made and programs run by this process while the test runs."""
    global _listening
    _heard.clear()
    _listening = True
    yield _heard
    _listening = False


@pytest.fixture
async def server(backend: FakeBackend, start_worker: Callable[..., EngineWorker]) -> AsyncIterator[httpx.AsyncClient]:
    worker = start_worker(backend)
    app = create_app(worker, Access(KEY))
    install_operations(app, lambda: pytest.fail("nothing here unloads"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


# ---- pages in a browser: CVE-2024-28224 (Ollama, DNS rebinding), CVE-2026-2611 (MLflow, loopback is no boundary)


@pytest.mark.parametrize("path", ["/health", "/metrics", "/props", "/slots", "/v1/models"])
@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1.nip.io", "localhost.", "a@localhost", "[::ffff:1]"])
async def test_no_route_answers_under_a_name_that_a_page_could_rebind(
    server: httpx.AsyncClient, path: str, host: str
) -> None:
    assert (await server.get(path, headers={"Host": host})).status_code == 400


@pytest.mark.parametrize("path", [CHAT, "/v1/models/dspark-demo/unload", "/tokenize"])
async def test_a_page_can_neither_post_nor_learn_anything(server: httpx.AsyncClient, path: str) -> None:
    page = {"Origin": "https://evil.example"}
    form = await server.post(path, content=b"{}", headers=page | {"Content-Type": "text/plain"})
    asked = await server.post(path, json=GOOD, headers=page)
    preflight = await server.options(path, headers=page | {"Access-Control-Request-Method": "POST"})
    assert [response.status_code for response in (form, asked, preflight)] == [403, 403, 403]
    for response in (form, asked, preflight):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"],
)
async def test_only_json_is_taken_without_an_origin_too(server: httpx.AsyncClient, kind: str) -> None:
    response = await server.post(CHAT, content=b'{"messages": []}', headers={"Content-Type": kind})
    assert response.status_code == 415


async def test_no_answer_whatever_allows_another_origin(server: httpx.AsyncClient) -> None:
    for origin in ("http://localhost:3000", "http://127.0.0.1"):
        for response in (
            await server.get("/v1/models", headers={"Origin": origin}),
            await server.post(CHAT, json=GOOD, headers={"Origin": origin}),
            await server.get("/none", headers={"Origin": origin}),
        ):
            assert not [name for name in response.headers if name.startswith("access-control")]


# ---- the key: CVE-2026-48710 (Starlette, the Host header decided the path)


@pytest.mark.parametrize(
    "path", ["/health/../v1/models", "/health/", "/health?x=/health", "/HEALTH", "/v1/models#/health"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8484"])
async def test_no_spelling_of_a_path_reaches_a_route_without_the_key(
    server: httpx.AsyncClient, path: str, host: str
) -> None:
    response = await server.get(path, headers={"Authorization": "", "Host": host})
    assert response.json() == {"status": "ok"} if path.startswith("/health?") else response.status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1/health?", "127.0.0.1/health#", "localhost/health", "127.0.0.1:80/health"])
async def test_a_host_header_with_a_path_in_it_opens_nothing(server: httpx.AsyncClient, host: str) -> None:
    response = await server.get("/v1/models", headers={"Authorization": "", "Host": host})
    assert response.status_code in (400, 401)


async def test_keys_are_compared_in_constant_time_whatever_was_sent(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, key: bytes) -> bool:
        compared.append((given, key))
        return hmac.compare_digest(given, key)

    monkeypatch.setattr(guard, "hmac", type("Spy", (), {"compare_digest": staticmethod(compare)}))
    for sent in (f"Bearer {KEY}", "Bearer wrong", "Bearer", ""):
        await server.get("/v1/models", headers={"Authorization": sent})
    assert [given for given, _ in compared] == [KEY.encode(), b"wrong", b"", b""]
    assert {key for _, key in compared} == {KEY.encode()}


async def test_a_wrong_key_is_not_repeated_to_the_sender(server: httpx.AsyncClient) -> None:
    response = await server.get("/v1/models", headers={"Authorization": "Bearer sk-somebody-else"})
    assert response.status_code == 401
    assert "sk-somebody-else" not in response.text
    assert KEY not in response.text


# ---- names that become paths: CVE-2024-37032 and CVE-2026-7020 (Ollama)

NAMES = ["../../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "sha256:../../etc/passwd", "a/../../b", "C:\\x"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_model_name_in_a_body_never_touches_the_disk(
    server: httpx.AsyncClient, heard: list[tuple[str, str]], name: str
) -> None:
    response = await server.post(CHAT, json=GOOD | {"model": name})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert not heard


@pytest.mark.parametrize("name", [*NAMES, "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%00"])
async def test_a_model_name_in_a_path_never_touches_the_disk(
    server: httpx.AsyncClient, heard: list[tuple[str, str]], name: str
) -> None:
    for response in (
        await server.get(f"/v1/models/{name}"),
        await server.post(f"/v1/models/{name}/load", headers=JSON),
        await server.post(f"/v1/models/{name}/unload", headers=JSON),
    ):
        assert response.status_code == 404
    assert not heard


# ---- addresses that get fetched: CVE-2026-5530 (Ollama, SSRF), CVE-2026-22773 (vLLM, images)


@pytest.mark.parametrize(
    "extra",
    [
        {"model": "http://169.254.169.254/latest/meta-data"},
        {"model": "https://evil.example/model.gguf"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "http://evil.example/s"}}}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://evil.example"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "file:///x"}}]}]},
        {
            "metadata": {"url": "http://evil.example"},
            "callback_url": "http://evil.example",
            "draft": "http://e.example",
        },
    ],
)
async def test_no_address_in_a_request_is_ever_visited(
    server: httpx.AsyncClient, heard: list[tuple[str, str]], extra: dict[str, Any]
) -> None:
    assert (await server.post(CHAT, json=GOOD | extra)).status_code < 500
    assert not heard


# ---- templates and code from a request: CVE-2024-34359 (llama-cpp-python), CVE-2026-5760 (SGLang), vLLM remote code

INJECTION = "{{ cycler.__init__.__globals__.os.system('id') }}"


@pytest.mark.parametrize(
    "extra",
    [
        {"chat_template": INJECTION},
        {"chat_template_kwargs": {"chat_template": INJECTION, "trust_remote_code": True}},
        {"messages": [{"role": "user", "content": INJECTION}]},
        {"trust_remote_code": True, "code_revision": "main"},
    ],
)
async def test_a_template_in_a_request_is_text_or_nothing(
    server: httpx.AsyncClient, backend: FakeBackend, heard: list[tuple[str, str]], extra: dict[str, Any]
) -> None:
    response = await server.post(CHAT, json=GOOD | extra)
    assert response.json()["choices"][0]["message"]["content"] == ANSWER
    sent = (GOOD | extra)["messages"][-1]["content"]
    assert backend.requests[-1].messages[-1].content == sent
    assert not heard


# ---- too much of anything: CVE-2024-12886 (gzip), CVE-2025-0315 (resources), CVE-2026-21869 (negative numbers)


async def test_a_compressed_body_is_not_unpacked(server: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    response = await server.post(CHAT, content=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert response.status_code in (400, 415)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("depth", [50, 500, 900, 100_000])
@pytest.mark.parametrize("place", ["tools", "metadata", "messages", "response_format", "logit_bias"])
async def test_json_of_any_depth_is_served_or_refused_and_never_breaks_anything(
    server: httpx.AsyncClient, place: str, depth: int
) -> None:
    deep = nested(depth, '{"a":', "}").replace("}", "1}", 1)
    values = {
        "tools": '[{"type":"function","function":{"name":"f","parameters":' + deep + "}}]",
        "messages": '[{"role":"user","content":' + nested(depth) + "}]",
        "response_format": '{"type":"json_schema","json_schema":{"name":"n","schema":' + deep + "}}",
    }
    body = '{"messages":[{"role":"user","content":"hi"}],"' + place + '":' + values.get(place, deep) + "}"
    response = await server.post(CHAT, content=body.encode(), headers=JSON)
    assert response.status_code == 400 if depth > MAX_DEPTH else response.status_code in (200, 400)


INTEGERS = ["max_tokens", "max_completion_tokens", "n", "top_k", "top_logprobs", "seed"]
REALS = ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"]


@pytest.mark.parametrize("value", ["-1", "-9223372036854775809", "1e400", "NaN", "-Infinity", "9" * 400, "9" * 5000])
@pytest.mark.parametrize("field", [*INTEGERS, *REALS])
async def test_numbers_out_of_range_are_refused_and_name_their_field(
    server: httpx.AsyncClient, field: str, value: str
) -> None:
    body = '{"logprobs":true,"messages":[{"role":"user","content":"hi"}],"' + field + '":' + value + "}"
    response = await server.post(CHAT, content=body.encode(), headers=JSON)
    if value == "-1" and field in ("seed", "presence_penalty", "frequency_penalty"):
        assert response.status_code < 500
    elif field.startswith(("max_", "top_k")) and value == "9" * 400:
        assert response.status_code < 500  # more than there is, which is all
    else:
        assert response.status_code == 400, response.text[:300]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}] * 20_000},
        {"messages": []},
        GOOD | {"stop": ["x"] * 1000},
        GOOD | {"stop": [""]},
        GOOD | {"dspark": {"conversation_id": "x" * 1000}},
        GOOD | {"dspark": {"speculation": "static:-1"}},
        GOOD | {"dspark": {"speculation": "static:" + "9" * 60}},
        GOOD | {"logit_bias": {str(n): 1 for n in range(100_000)}},
        GOOD | {"logit_bias": {"-1": 100}},
        GOOD | {"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(20_000)]},
    ],
)
async def test_counts_and_lengths_over_the_limits_are_refused(server: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await server.post(CHAT, json=body)
    assert response.status_code == 400, response.text[:300]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"\xff\xfe", b"{", b'{"messages":"\\ud800"}', b"\0"])
async def test_bodies_that_are_no_request_are_refused(server: httpx.AsyncClient, body: bytes) -> None:
    assert (await server.post(CHAT, content=body, headers=JSON)).status_code == 400


async def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_a_character(server: httpx.AsyncClient) -> None:
    body = b'{"messages":[{"role":"user","content":"echo a \\ud800 b"}]}'
    for extra in (body, body[:-1] + b',"stream":true}'):
        assert (await server.post(CHAT, content=extra, headers=JSON)).status_code == 400
    whole = b'{"messages":[{"role":"user","content":"echo \\ud83d\\ude42"}]}'
    answer = (await server.post(CHAT, content=whole, headers=JSON)).json()
    assert answer["choices"][0]["message"]["content"] == "🙂"


async def test_a_body_that_trickles_in_is_given_up(backend: FakeBackend, start_worker: Callable[..., Any]) -> None:
    import asyncio

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"messages":'
        await asyncio.sleep(3600)

    app = create_app(start_worker(backend), Access(None))
    limited = guard.GuardMiddleware(app, Access(None), body_seconds=0.05)
    transport = httpx.ASGITransport(limited, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post(CHAT, content=stalled(), headers=JSON)
    assert response.json()["error"]["code"] == "request_timeout"


# ---- what answers give away


async def test_a_defect_is_told_without_files_and_without_the_request(
    server: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(worker: EngineWorker) -> None:
        raise FileNotFoundError(2, "No such file", "/home/somebody/secret.key")

    monkeypatch.setattr(EngineWorker, "ready_info", broken)
    response = await server.post(CHAT, json=GOOD)
    assert response.status_code == 500
    assert "somebody" not in response.text
    assert response.json()["error"]["hint"] == "Its log has the details."
