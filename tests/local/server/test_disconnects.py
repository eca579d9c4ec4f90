"""Clients that vanish with a reset at any moment, on the real server: nothing of them is left, and it answers on."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.local.server.demo_process import KEY, DemoServer, demo_server

FEW, MANY = 200, 1_000
CLIENTS = 12
"""More than slots, so that some leave the queue; with it fewer than are turned away."""
HELLO = {"messages": [{"role": "user", "content": "What is the Markov head?"}], "max_tokens": 32}
LONG = "The draft proposes a block and the target verifies it in one pass. " * 12
FAMILIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": HELLO,
    "/v1/completions": {"prompt": "The draft", "max_tokens": 32},
    "/v1/responses": {"input": "What is the Markov head?", "max_output_tokens": 32},
    "/v1/messages": {"model": "claude-x", **HELLO},
}
MOMENTS = ("headers", "body", "at once", "waiting", "in the stream", "whole answer")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    with demo_server(tmp_path_factory.mktemp("home"), "--slots", "4", "--context", "1024") as running:
        yield running


def raw_request(path: str, body: dict[str, Any]) -> tuple[bytes, bytes]:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode(), content


def vanish(port: int, rng: random.Random, left: Counter[str]) -> None:
    """One request that is cut off by a reset; who waits in vain for a first piece leaves the queue."""
    path, moment = rng.choice(list(FAMILIES)), rng.choice(MOMENTS)
    body = {**FAMILIES[path], "stream": moment != "whole answer"}
    if rng.random() < 0.3 and "messages" in body:  # a prefill long enough to leave in
        body["messages"] = [{"role": "user", "content": f"{rng.random()} {LONG}"}]
    head, content = raw_request(path, body)
    wire = socket.create_connection(("127.0.0.1", port), timeout=10)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset
    try:
        if moment == "headers":
            wire.sendall(head[: rng.randrange(1, len(head))])
        elif moment == "body":
            wire.sendall(head + content[: rng.randrange(len(content))])
        else:
            wire.sendall(head + content)
        if moment in ("waiting", "whole answer"):
            time.sleep(rng.random() * 0.15)
        elif moment == "in the stream":
            wire.settimeout(1.0)
            status = wire.recv(512)[9:12].decode()
            for _ in range(rng.randrange(4) if status == "200" else 0):
                wire.recv(512)
            moment = f"{moment}, {status}"
        else:
            time.sleep(rng.random() * 0.02)
    except TimeoutError:
        moment = "in the queue"
    finally:
        wire.close()
    left[moment] += 1


def held(server: DemoServer) -> tuple[int, int]:
    return server.process.num_fds(), server.process.num_threads()


def answers(server: DemoServer, client: httpx.Client) -> list[str]:
    said = []
    for path, body in FAMILIES.items():
        response = client.post(path, json={**body, "temperature": 0, "dspark": {"speculation": "off"}})
        assert response.status_code == 200, response.text
        answer = response.json()
        said.append(json.dumps([answer.get(name) for name in ("choices", "content", "output")]).split('"id"')[0])
    return said


def check_disconnects(server: DemoServer, count: int) -> None:
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as client:
        expected = answers(server, client)
        before = held(server)
        left: Counter[str] = Counter()

        def leave_again(number: int) -> None:
            rng = random.Random(number)
            for _ in range(number, count, CLIENTS):
                vanish(server.port, rng, left)

        started = time.monotonic()
        threads = [threading.Thread(target=leave_again, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
        deadline = time.monotonic() + 20
        while (
            any(slot["is_processing"] for slot in client.get("/slots").json())
            or waiting(client) > 0
            or held(server)[0] > before[0]
        ):
            assert time.monotonic() < deadline, (client.get("/slots").json(), held(server), before)
            time.sleep(0.1)
        print(
            f"{count} disconnects in {took:.1f} s, {dict(left)}; files, threads {before} before, {held(server)} after"
        )
        assert sum(left.values()) == count
        assert left["in the stream, 200"] > count // 200
        assert held(server)[1] <= before[1] + 8  # the pool of the event loop's helpers may have grown, not by request
        assert answers(server, client) == expected
        assert "Traceback" not in server.logged()


def waiting(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    values = [line.split()[-1] for line in lines if "waiting" in line and not line.startswith("#")]
    assert len(values) == 1
    return float(values[0])


def test_two_hundred_clients_that_vanish_leave_nothing_behind(server: DemoServer) -> None:
    check_disconnects(server, FEW)


@pytest.mark.slow
def test_a_thousand_clients_that_vanish_leave_nothing_behind(server: DemoServer) -> None:
    check_disconnects(server, MANY)
