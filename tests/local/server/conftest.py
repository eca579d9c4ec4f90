from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def start_worker() -> Iterator[Callable[[FakeBackend], EngineWorker]]:
    started: list[EngineWorker] = []

    def start(backend: FakeBackend, queue_size: int = 8) -> EngineWorker:
        worker = EngineWorker(lambda progress: backend, queue_size=queue_size)
        worker.start()
        while worker.state == "loading":
            pass
        started.append(worker)
        return worker

    yield start
    for worker in started:
        assert worker.stop()


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
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        worker.start()
        thread.start()
        running.append((server, thread, worker))
        return RunningServer(f"http://127.0.0.1:{listener.getsockname()[1]}", worker)

    yield serve
    for server, thread, worker in running:
        assert worker.stop()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
