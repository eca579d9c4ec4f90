"""The server as a process of its own, spoken to byte by byte: what no client library would send."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

KEY = "sk-local-5e1d"
PROMPT = "my secret plan"
SERVE = """
import sys
from dspark_local import cli
from dspark_local.server import cli as serve_cli
from tests.tui.fake_engine import slow_loader
serve_cli._native_loader = lambda *_: slow_loader(0.0, 0.0)
serve_cli._read_native = None
cli.main(sys.argv[1:])
"""


class Server(NamedTuple):
    """A running server: its process, its port and where its log goes."""

    process: subprocess.Popen[str]
    port: int
    log: IO[str]

    def logged(self) -> str:
        """The log so far, read without moving the place where the server writes."""
        return os.pread(self.log.fileno(), 10_000_000, 0).decode()

    def send(self, raw: bytes, *, patience: float = 10.0) -> bytes:
        """The whole answer to these bytes; what the server had sent when it closed, or after `patience` seconds."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as wire:
            try:
                wire.sendall(raw)
                while piece := wire.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionError):
                pass
        return answer

    def request(self, head: str, body: bytes = b"", *, key: str | None = KEY, host: str | None = "127.0.0.1") -> bytes:
        """One request with the usual headers, the connection closed after it."""
        lines = [f"{head} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"Host: {host}"] if host is not None else []
        lines += [f"Authorization: Bearer {key}"] if key is not None else []
        lines += ["Content-Type: application/json"] if body else []
        return self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with start() as server:
        yield server


@contextmanager
def start() -> Iterator[Server]:
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would stop the server once it is full
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "DSPARK_API_KEY": KEY},
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    server = Server(process, port, log)
    while status(server.request("GET /health")) != 200:
        time.sleep(0.05)
    try:
        yield server
    finally:
        process.kill()
        process.communicate()
        log.close()


def chat(prompt: str, **extra: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": prompt}], **extra}).encode()


POST = "POST /v1/chat/completions"


def test_the_usual_request_is_answered(running: Server) -> None:
    answer = running.request(POST, chat("hello"))
    assert status(answer) == 200
    assert b"server:" not in answer.lower()


@pytest.mark.parametrize("host", ["evil.example", "", None, "127.0.0.1\r\nHost: evil.example"])
def test_a_foreign_a_missing_or_a_second_host_is_refused(running: Server, host: str | None) -> None:
    assert status(running.request("GET /v1/models", host=host)) == 400


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/health",
        "http://127.0.0.1/health",
        "/health/../v1/models",
        "/v1/models/../../health",
        "//health",
        "/health%00",
        "/health%2f..%2fv1%2fmodels",
        "/health;x",
        "*",
    ],
)
def test_no_form_of_a_request_line_reaches_a_route_without_the_key(running: Server, target: str) -> None:
    for host in ("127.0.0.1", "127.0.0.1/health"):
        assert status(running.request(f"GET {target}", key=None, host=host)) in (400, 401, 404)


def test_headers_that_name_another_client_or_host_change_nothing(running: Server) -> None:
    raw = (
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Forwarded-For: 127.0.0.1\r\n"
        b"X-Forwarded-Host: localhost\r\nX-Original-URL: /health\r\nX-HTTP-Method-Override: GET\r\n\r\n"
    )
    assert status(running.send(raw)) == 401


@pytest.mark.parametrize(
    "path", ["/v1/models/../../../../etc/passwd", "/v1/models/..%2f..%2fetc/passwd", "/etc/passwd"]
)
def test_no_path_reaches_the_file_system(running: Server, path: str) -> None:
    answer = running.request(f"GET {path}")
    assert status(answer) == 404
    assert b"root:" not in answer


def test_endless_headers_are_cut_off(running: Server) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(1000))
    answer = running.send(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + many + b"\r\n")
    assert not answer or status(answer) in (400, 431)
    long = running.send(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert not long or status(long) in (400, 414)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nContent-Length: 50",
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
    ],
)
def test_bodies_of_unclear_length_are_not_read_two_ways(running: Server, framing: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
    second = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    rest = b"\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + second
    answer = running.send(head + framing + rest)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b'"status":"ok"' not in answer


def test_a_body_over_the_limit_is_refused_before_it_is_read(running: Server) -> None:
    head = (
        f"{POST} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        "Content-Length: 9000000000\r\nConnection: close\r\n\r\n"
    )
    assert status(running.send(head.encode())) == 413


def test_a_websocket_is_not_opened(running: Server) -> None:
    raw = (
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert status(running.send(raw, patience=1.0)) == 401


def test_more_connections_than_it_takes_are_turned_away_and_it_lives_on(running: Server) -> None:
    held: list[socket.socket] = []
    try:
        for _ in range(300):
            wire = socket.create_connection(("127.0.0.1", running.port), timeout=5)
            wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            held.append(wire)
        time.sleep(0.3)
        assert status(running.request("GET /health")) == 503
    finally:
        for wire in held:
            wire.close()
    deadline = time.monotonic() + 5
    while status(running.request("GET /health")) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_files(process: subprocess.Popen[str]) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_abrupt_disconnects_leave_no_file_open(running: Server) -> None:
    before = open_files(running.process)
    body = chat("endless", stream=True)
    raw = f"{POST} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    raw += f"Content-Length: {len(body)}\r\n\r\n"

    def vanish() -> None:
        for number in range(50):
            with socket.create_connection(("127.0.0.1", running.port), timeout=5) as wire:
                wire.sendall(raw.encode() + body[: None if number % 2 else 20])

    threads = [threading.Thread(target=vanish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 10
    while open_files(running.process) > before + 1:
        assert time.monotonic() < deadline, f"{open_files(running.process)} open, {before} before"
        time.sleep(0.05)
    assert status(running.request(POST, chat("hello"))) == 200
    assert "Traceback" not in running.logged()  # people who leave are no defect, and must not fill a disk


def test_the_log_holds_no_prompt_and_no_key_whatever_went_wrong() -> None:
    with start() as server:
        for prompt in (PROMPT, f"{PROMPT} fault", f"{PROMPT} too long"):
            server.request(POST, chat(prompt))
        server.request(POST, chat(PROMPT, temperature=-1))
        server.request(POST, chat(PROMPT), key="sk-wrong-77")
        server.request(POST, chat(PROMPT)[:-5])
        server.request(f"GET /v1/models?prompt={PROMPT.replace(' ', '+')}&api_key={KEY}")
        server.send(f"GET /{PROMPT} {KEY} nonsense\r\n\r\n".encode())
        server.process.terminate()
        out, _ = server.process.communicate(timeout=20)
        log = server.logged()
    assert "a wire came loose" in log
    for secret in (PROMPT, PROMPT.replace(" ", "+"), KEY, "sk-wrong-77"):
        assert secret not in out + log
