"""A hub on loopback that speaks what huggingface_hub and our downloader ask for, counts bytes, and fails on demand.

Large files are redirected to a second host name of the same server, as the real hub redirects to its content servers.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_FROM_BYTES = 100_000
_CHUNK = 64 * 2**10


@dataclass
class Faults:
    """What goes wrong with one path. Counts go down as the fault happens; -1 is for ever."""

    cut_after: int | None = None  # bytes of one answer, then the connection drops
    cuts: int = -1
    flip_at: int | None = None  # this byte of the file arrives with a flipped bit
    flips: int = -1
    stall_after: int | None = None  # bytes of one answer, then silence
    stalls: int = -1
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answered in turn, before any content
    ignores_ranges: bool = False
    short_by: int = 0  # the server's file lacks its last bytes
    wrong_etag: bool = False
    expired_cdn: int = 0  # the content server answers 403 so often


@dataclass
class Repo:
    files: dict[str, Path]
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)  # path -> (git sha1, sha256)
    error: tuple[int, dict[str, str]] | None = None
    needs_token: str | None = None

    def __post_init__(self) -> None:
        for path, place in self.files.items():
            content = place.read_bytes()
            sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            self.digests[path] = (sha1, hashlib.sha256(content).hexdigest())

    def is_lfs(self, path: str) -> bool:
        return self.files[path].stat().st_size >= LFS_FROM_BYTES

    def etag(self, path: str) -> str:
        return self.digests[path][1 if self.is_lfs(path) else 0]


class StandInHub:
    """`with StandInHub() as hub`. served counts body bytes per path, requests what was asked."""

    def __init__(self, *, bytes_per_second: float | None = None) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: dict[str, Faults] = {}
        self.listing_statuses: list[tuple[int, dict[str, str]]] = []
        self.served: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bytes_per_second = bytes_per_second
        self.open_answers = 0
        self.most_open_answers = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    def add(self, repo: str, folder: Path) -> Repo:
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.repos[repo] = Repo(files)
        return self.repos[repo]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self.port}"

    def __enter__(self) -> StandInHub:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed is what these tests are about


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        # What lies in socket buffers when a client is killed counts as served: keep it small.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 2**10)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route(head=True)

    def do_GET(self) -> None:
        self._route(head=False)

    def _route(self, *, head: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        elif path.startswith("/content/"):
            repo, _, file = path.removeprefix("/content/").partition("//")
            self._content(self.hub.repos[repo], file, head=head, is_cdn=True)
        else:
            repo, _, rest = path.removeprefix("/").partition("/resolve/")
            self._resolve(repo, rest.partition("/")[2], head=head)

    def _api(self, path: str) -> None:
        if self.hub.listing_statuses:
            self._status(*self.hub.listing_statuses.pop(0))
            return
        repo, _, rest = path.replace("/revision/", "|revision/").replace("/tree/", "|tree/").partition("|")
        if (known := self._allowed(repo)) is None:
            return
        kind, _, revision = rest.partition("/")
        if revision not in ("main", COMMIT):
            self._status(404, {"X-Error-Code": "RevisionNotFound"})
        elif kind == "revision":
            self._json({"id": repo, "sha": COMMIT, "siblings": [], "private": False, "tags": [], "downloads": 0})
        else:
            self._json([_entry(known, path) for path in known.files])

    def _allowed(self, repo: str) -> Repo | None:
        known = self.hub.repos.get(repo)
        if known is None:
            self._status(404, {"X-Error-Code": "RepoNotFound"})
            return None
        if known.needs_token and self.headers.get("Authorization") != f"Bearer {known.needs_token}":
            self._status(403 if self.headers.get("Authorization") else 401, {"X-Error-Code": "GatedRepo"})
            return None
        if known.error:
            self._status(*known.error)
            return None
        return known

    def _resolve(self, repo: str, path: str, *, head: bool) -> None:
        known = self._allowed(repo)
        if known is None:
            return
        if path not in known.files:
            self._status(404, {"X-Error-Code": "EntryNotFound"})
            return
        faults = self.hub.faults.get(path, Faults())
        if faults.statuses:
            self._status(*faults.statuses.pop(0))
            return
        etag = "f" * 64 if faults.wrong_etag else known.etag(path)
        if not known.is_lfs(path):
            self._content(known, path, head=head, is_cdn=False)
            return
        self.send_response(302)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(known.files[path].stat().st_size))
        self.send_header("Location", f"{self.hub.cdn}/content/{repo}//{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, repo: Repo, path: str, *, head: bool, is_cdn: bool) -> None:
        faults = self.hub.faults.get(path, Faults())
        if is_cdn and faults.expired_cdn:
            faults.expired_cdn -= 1
            self._status(403, {})
            return
        size = repo.files[path].stat().st_size - faults.short_by
        start, end, ranged = 0, size, False
        if (wanted := self.headers.get("Range")) and not faults.ignores_ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, ranged = int(first), min(size, int(last) + 1 if last else size), True
            if start >= size:
                self._status(416, {"Content-Range": f"bytes */{size}"})
                return
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        if not is_cdn:
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{repo.etag(path)}"')
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if not head:
            self._body(repo.files[path], path, start, end, faults)

    def _body(self, place: Path, path: str, start: int, end: int, faults: Faults) -> None:
        hub = self.hub
        with hub.lock:
            hub.open_answers += 1
            hub.most_open_answers = max(hub.most_open_answers, hub.open_answers)
        try:
            with place.open("rb") as stream:
                stream.seek(start)
                for chunk in _chunks(stream, start, end, faults):
                    if chunk is None:
                        hub.stopping.wait(60)
                        break
                    self.wfile.write(chunk)
                    with hub.lock:
                        hub.served[path] += len(chunk)
                    if hub.bytes_per_second:
                        time.sleep(len(chunk) / hub.bytes_per_second * hub.open_answers)
                else:
                    return
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.close_connection = True
        finally:
            with hub.lock:
                hub.open_answers -= 1

    def _status(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _entry(repo: Repo, path: str) -> dict[str, Any]:
    size = repo.files[path].stat().st_size
    sha1, sha256 = repo.digests[path]
    entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": sha1}
    if repo.is_lfs(path):
        entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 130}
    return entry


def _chunks(stream: Any, start: int, end: int, faults: Faults) -> Iterator[bytes | None]:
    """The bytes, up to the fault; a None stands for silence, ending early for a cut."""
    position = start
    while position < end:
        chunk = stream.read(min(_CHUNK, end - position))
        sent = position - start
        if faults.cuts and faults.cut_after is not None and sent + len(chunk) > faults.cut_after:
            faults.cuts -= 1
            if chunk := chunk[: faults.cut_after - sent]:
                yield chunk
            yield from _cut()
        if faults.stalls and faults.stall_after is not None and sent + len(chunk) > faults.stall_after:
            faults.stalls -= 1
            yield None
        if faults.flips and faults.flip_at is not None and position <= faults.flip_at < position + len(chunk):
            faults.flips -= 1
            at = faults.flip_at - position
            chunk = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
        position += len(chunk)
        yield chunk


def _cut() -> Iterator[bytes]:
    raise ConnectionAbortedError
    yield b""


def random_folder(folder: Path, files: dict[str, int], seed: int = 0) -> Path:
    """A model of random bytes: names and sizes, with a config.json."""
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "stand-in"}')
    for name, size in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        block = source.randbytes(min(size, 2**20 + 17))
        with (folder / name).open("wb") as stream:
            while (left := size - stream.tell()) > 0:
                stream.write(block[:left])
    return folder


def environment(hub: StandInHub, folder: Path, **more: str) -> dict[str, str]:
    """Variables for a subprocess that knows this hub alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DSPARK_", "HUGGING"))}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf"), "DSPARK_HOME": str(folder / "dspark")}
    return {**kept, **own, **more}
