from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.tui.fake_engine import FakeBackend, slow_loader

PATH = "/v1/chat/completions"
KEY = {"Authorization": "Bearer secret"}


def body(prompt: str, **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], **extra}


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class SteppedBackend(FakeBackend):
    """Each pass waits until the test lets it go, so that passes can be counted exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.started = 0
        self.ended: list[str] = []

    def chat(self, request: Any, cancelled: Any) -> Iterator[Any]:
        from dspark_local.events import Finished, TextDelta

        while not cancelled():
            self.started += 1
            assert self.gate.acquire(timeout=10)
            self.passes += 1
            yield TextDelta(f"pass {self.passes} ")
        self.ended.append(request.messages[-1].content)
        yield Finished("cancelled", ())


@pytest.fixture
def stepped(serve_on_socket: Callable[..., Any]) -> Iterator[tuple[SteppedBackend, Any]]:
    backend = SteppedBackend()
    server = serve_on_socket(lambda progress: backend, queue_size=1, keep_alive=0.05)
    wait_until(lambda: server.worker.state == "ready")
    yield backend, server
    backend.gate.release(1000)


def test_a_client_that_goes_away_stops_the_engine_within_one_pass(stepped: tuple[SteppedBackend, Any]) -> None:
    backend, server = stepped
    with httpx.stream("POST", server.url + PATH, json=body("a", stream=True), headers=KEY, timeout=5) as response:
        backend.gate.release(3)
        arrived = ""
        for text in response.iter_text():
            arrived += text
            if "pass 3 " in arrived:
                break
        wait_until(lambda: backend.started == 4)
    [job] = server.worker._running.values()
    wait_until(job.is_cancelled)
    backend.gate.release(100)
    wait_until(lambda: backend.ended == ["a"])
    assert backend.passes == 4  # the pass that was under way, and no further one


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_the_first_token_cancels_too(
    stepped: tuple[SteppedBackend, Any], stream: bool
) -> None:
    backend, server = stepped
    client = httpx.Client(timeout=0.3)
    asked = client.build_request("POST", server.url + PATH, json=body("b", stream=stream), headers=KEY)
    if stream:
        response = client.send(asked, stream=True)
        assert response.status_code == 200
        response.close()
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.send(asked)
    client.close()
    wait_until(lambda: all(job.is_cancelled() for job in [*server.worker._running.values()]))
    backend.gate.release(100)
    wait_until(lambda: backend.ended == ["b"])
    assert backend.passes <= 1


def test_a_long_silence_is_bridged_by_comments_that_clients_skip(stepped: tuple[SteppedBackend, Any]) -> None:
    backend, server = stepped
    with httpx.stream("POST", server.url + PATH, json=body("c", stream=True), headers=KEY, timeout=5) as response:
        lines = response.iter_lines()
        assert any(line.startswith(":") for line in lines)
        assert backend.passes == 0


def test_a_full_queue_answers_429_and_a_request_that_left_frees_its_place(stepped: tuple[SteppedBackend, Any]) -> None:
    _, server = stepped
    client = httpx.Client(base_url=server.url, headers=KEY, timeout=5)
    with client, client.stream("POST", PATH, json=body("running", stream=True)):
        with client.stream("POST", PATH, json=body("waiting", stream=True)):
            refused = client.post(PATH, json=body("one too many"))
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert int(refused.headers["Retry-After"]) > 0
        wait_until(lambda: server.worker._waiting[0].is_cancelled())
        with client.stream("POST", PATH, json=body("next", stream=True)) as accepted:
            assert accepted.status_code == 200


def test_requests_are_answered_in_turn(serve_on_socket: Callable[..., Any]) -> None:
    backend = FakeBackend(pass_seconds=0.005)
    server = serve_on_socket(lambda progress: backend)
    wait_until(lambda: server.worker.state == "ready")

    async def ask_all() -> list[str]:
        async with httpx.AsyncClient(base_url=server.url, headers=KEY, timeout=20) as client:
            answers = await asyncio.gather(*(client.post(PATH, json=body(f"echo number {n}")) for n in range(6)))
        return [answer.json()["choices"][0]["message"]["content"] for answer in answers]

    assert asyncio.run(ask_all()) == [f"number {n}" for n in range(6)]


def test_the_port_answers_while_the_model_loads_and_tells_how_far_it_is(serve_on_socket: Callable[..., Any]) -> None:
    server = serve_on_socket(slow_loader(0.6, 0.0))
    wait_until(lambda: server.worker.progress.done_bytes > 0)
    with httpx.Client(base_url=server.url, headers=KEY) as client:
        health = client.get("/health")
        assert health.status_code == 503
        assert health.json()["progress"] == {
            "stage": "mapping weights",
            "done_bytes": pytest.approx(1e7, abs=1e7),
            "total_bytes": 20_000_000,
        }
        assert httpx.get(f"{server.url}/health").json() == {"status": "loading"}
        early = client.post(PATH, json=body("x"))
        assert (early.status_code, early.json()["error"]["code"]) == (503, "model_loading")
        assert "Retry-After" in early.headers
        wait_until(lambda: client.get("/health").status_code == 200)


def test_a_failed_load_is_reported_with_message_and_hint_to_those_with_the_key(
    serve_on_socket: Callable[..., Any],
) -> None:
    server = serve_on_socket(slow_loader(0.0, 0.0, fails=True))
    wait_until(lambda: server.worker.state == "failed")
    health = httpx.get(f"{server.url}/health", headers=KEY)
    assert (health.status_code, health.json()["status"]) == (503, "failed")
    assert health.json()["error"]["code"] == "checkpoint_invalid"
    assert "Shard 2 of 3" in health.json()["error"]["message"]
    assert health.json()["error"]["hint"] == "Download it again."
    assert httpx.get(f"{server.url}/health").json() == {"status": "failed"}


def test_stopping_the_worker_ends_a_running_stream_with_an_error_event(serve_on_socket: Callable[..., Any]) -> None:
    backend = FakeBackend(pass_seconds=0.01)
    server = serve_on_socket(lambda progress: backend)
    wait_until(lambda: server.worker.state == "ready")
    asked = body("endless", stream=True)
    with httpx.stream("POST", server.url + PATH, json=asked, headers=KEY, timeout=5) as response:
        lines = response.iter_lines()
        next(lines)
        assert server.worker.stop()
        rest = "\n".join(lines)
    assert "engine_unavailable" in rest
    assert "[DONE]" not in rest
    assert backend.closed
