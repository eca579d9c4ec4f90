"""The model leaves the memory on request or when idle, and comes back with the next request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dspark_local.errors import OutOfMemoryError
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.operations import install_operations
from dspark_local.server.residence import Residence, watch_for_idleness
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import ANSWER, FakeBackend

PATH = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


class Setup:
    """An application with all operations, every backend that it loaded, and what loading is to do next."""

    def __init__(self) -> None:
        self.backends: list[FakeBackend] = []
        self.load_seconds = 0.0
        self.failure: OutOfMemoryError | None = None
        first = self.new_worker()
        self.app = create_app(first, Access("secret"))
        self.residence: Residence = install_operations(self.app, self.new_worker, slots=4)
        first.start()
        while first.state == "loading":
            time.sleep(0.001)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers={"Authorization": "Bearer secret"}
        )

    def new_worker(self) -> EngineWorker:
        return EngineWorker(self._load)

    def _load(self, progress: Any) -> FakeBackend:
        time.sleep(self.load_seconds)
        if self.failure is not None:
            raise self.failure
        self.backends.append(FakeBackend(pass_seconds=0.002))
        return self.backends[-1]

    async def ask(self, prompt: str = "hello") -> httpx.Response:
        return await self.http.post(PATH, json={"messages": [{"role": "user", "content": prompt}]})

    async def post(self, action: str, model: str = "dspark-demo") -> httpx.Response:
        return await self.http.post(f"/v1/models/{model}/{action}", headers=JSON)


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    assert made.residence.close(5.0)


async def test_unloading_closes_the_engine_and_the_next_request_loads_it_again(setup: Setup) -> None:
    response = await setup.post("unload")
    assert (response.status_code, response.json()["status"]["value"]) == (200, "unloaded")
    assert setup.backends[0].closed
    answer = await setup.ask()
    assert answer.json()["choices"][0]["message"]["content"] == ANSWER
    assert len(setup.backends) == 2
    assert not setup.backends[1].closed


async def test_an_unloaded_model_is_still_listed_and_the_server_still_healthy(setup: Setup) -> None:
    assert (await setup.http.get("/v1/models")).json()["data"][0]["status"] == {"value": "loaded"}
    await setup.post("unload")
    entry = (await setup.http.get("/v1/models")).json()["data"][0]
    assert (entry["id"], entry["status"]) == ("dspark-demo", {"value": "unloaded"})
    assert (await setup.http.get("/v1/models/dspark-demo")).json()["status"] == {"value": "unloaded"}
    assert (await setup.http.get("/health")).status_code == 200
    assert len(setup.backends) == 1  # looking does not load


async def test_load_begins_and_says_so_and_is_done_once(setup: Setup) -> None:
    await setup.post("unload")
    setup.load_seconds = 0.1
    first, second = await setup.post("load"), await setup.post("load")
    assert (first.status_code, first.json()["status"]["value"]) == (202, "loading")
    assert second.status_code == 202
    while (await setup.http.get("/health")).json()["status"] == "loading":
        await asyncio.sleep(0.01)
    again = await setup.post("load")
    assert (again.status_code, again.json()["status"]["value"]) == (200, "loaded")
    assert len(setup.backends) == 2


async def test_requests_that_come_while_it_loads_again_wait_for_it_and_load_it_once(setup: Setup) -> None:
    await setup.post("unload")
    setup.load_seconds = 0.2
    answers = await asyncio.gather(*(setup.ask() for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(setup.backends) == 2


async def test_a_reload_that_takes_too_long_is_answered_503_with_a_time_to_retry(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = setup.residence.wait_until_loaded
    monkeypatch.setattr(setup.residence, "wait_until_loaded", lambda: wait(0.05))
    await setup.post("unload")
    setup.load_seconds = 0.5
    response = await setup.ask()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_loading")
    assert int(response.headers["Retry-After"]) > 0


async def test_a_reload_that_fails_is_said_and_the_next_request_tries_again(setup: Setup) -> None:
    await setup.post("unload")
    setup.failure = OutOfMemoryError("The plan needs 21 GiB, 3 GiB are free.")
    response = await setup.ask()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "out_of_memory")
    setup.failure = None
    assert (await setup.ask()).status_code == 200


async def test_a_model_that_answers_is_not_unloaded(setup: Setup) -> None:
    running = asyncio.create_task(setup.ask("endless"))
    while not setup.backends[0].requests:
        await asyncio.sleep(0.005)
    refused = await setup.post("unload")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_busy")
    assert refused.headers["x-should-retry"] == "false"
    assert not setup.residence.unload_if_idle(0.0)
    assert (await running).status_code == 200
    assert (await setup.post("unload")).status_code == 200


@pytest.mark.parametrize("model", ["other", "../dspark-demo", "%2e%2e%2f%2e%2e%2fetc", "/etc/passwd", "owner/name"])
@pytest.mark.parametrize("action", ["load", "unload"])
async def test_only_the_registered_name_loads_or_unloads(setup: Setup, model: str, action: str) -> None:
    response = await setup.post(action, model)
    assert response.status_code == 404
    assert (len(setup.backends), setup.residence.presence) == (1, "loaded")


async def test_who_lacks_the_key_neither_unloads_nor_wakes_the_model(setup: Setup) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    assert (await setup.http.post("/v1/models/dspark-demo/unload", headers=JSON | wrong)).status_code == 401
    assert setup.residence.presence == "loaded"
    await setup.post("unload")
    body = {"messages": [{"role": "user", "content": "hi"}]}
    assert (await setup.http.post(PATH, json=body, headers=wrong)).status_code == 401
    assert setup.residence.presence == "unloaded"


async def test_idleness_counts_from_the_end_of_the_last_request(setup: Setup) -> None:
    now = 1000.0
    residence = Residence(setup.app.state, setup.new_worker, clock=lambda: now)
    residence.enter()
    now += 100
    residence.leave()
    now += 59
    assert not residence.unload_if_idle(60)
    now += 1
    assert residence.unload_if_idle(60)
    assert setup.backends[0].closed
    assert not residence.unload_if_idle(60)


async def test_a_request_that_comes_during_an_unloading_waits_and_never_finds_two_engines(setup: Setup) -> None:
    closing, release = threading.Event(), threading.Event()

    def slow_close() -> None:
        closing.set()
        assert release.wait(5)
        setup.backends[0].closed = True

    setup.backends[0].close = slow_close  # type: ignore[method-assign]
    unloading = asyncio.create_task(setup.post("unload"))
    await asyncio.to_thread(closing.wait, 5)
    asked = asyncio.create_task(setup.ask())
    await asyncio.sleep(0.1)
    assert len(setup.backends) == 1
    release.set()
    assert (await unloading).status_code == 200
    assert (await asked).status_code == 200
    assert len(setup.backends) == 2


async def test_the_watch_unloads_again_and_again_and_ends_with_the_server(setup: Setup) -> None:
    watch = watch_for_idleness(setup.residence, 0.1 / 60)
    for count in (1, 2):
        deadline = time.monotonic() + 5
        while setup.residence.presence != "unloaded":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert len(setup.backends) == count
        assert (await setup.ask()).status_code == 200
    setup.residence.close(5.0)
    await asyncio.to_thread(watch.join, 5)
    assert not watch.is_alive()
