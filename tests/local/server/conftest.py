from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import FakeBackend

STOP_SECONDS = 5


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


def wait_until_loaded(worker: EngineWorker, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while worker.state == "loading":
        assert time.monotonic() < deadline, "the backend does not load"
        time.sleep(0.001)


@pytest.fixture
def start_worker() -> Iterator[Callable[[FakeBackend], EngineWorker]]:
    started: list[EngineWorker] = []

    def start(backend: FakeBackend, queue_size: int = 8) -> EngineWorker:
        worker = EngineWorker(lambda progress: backend, queue_size=queue_size)
        started.append(worker)
        worker.start()
        wait_until_loaded(worker)
        return worker

    yield start
    stopped = [worker.stop() for worker in started]
    assert all(stopped)


@pytest.fixture
async def http(backend: FakeBackend, start_worker: Callable[..., EngineWorker]) -> AsyncIterator[httpx.AsyncClient]:
    """A client wired straight to the application, without a socket and without a key."""
    app = create_app(start_worker(backend), Access(None))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@dataclass
class RunningServer:
    """A server on a real socket, its loop in a thread of its own."""

    url: str
    worker: EngineWorker


@pytest.fixture
def serve_on_socket() -> Iterator[Callable[..., RunningServer]]:
    running: list[tuple[uvicorn.Server, threading.Thread, EngineWorker]] = []

    def serve(load: Callable[..., FakeBackend], *, queue_size: int = 8, keep_alive: float = 10.0) -> RunningServer:
        worker = EngineWorker(load, queue_size=queue_size)
        app = create_app(worker, Access("secret"), keep_alive_seconds=keep_alive)
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=STOP_SECONDS
        )
        server = uvicorn.Server(config)
        # A daemon: a test that fails with a client still connected must not keep the interpreter from ending.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        worker.start()
        thread.start()
        running.append((server, thread, worker))
        return RunningServer(f"http://127.0.0.1:{listener.getsockname()[1]}", worker)

    yield serve
    for server, _, _ in running:
        server.should_exit = True
    stopped = [worker.stop() for _, _, worker in running]
    for _, thread, _ in running:
        thread.join(2 * STOP_SECONDS)
    assert all(stopped)
    assert not any(thread.is_alive() for _, thread, _ in running)
