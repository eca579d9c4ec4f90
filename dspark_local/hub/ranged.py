"""One request for a range of a file on the hub, checked to be an answer to just that."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from dspark_local.errors import HubError, IntegrityError
from dspark_local.hub.errors import reason, too_many_failures, translate
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.hub.patience import Patience, asked_wait

if TYPE_CHECKING:
    import httpx2

_T = TypeVar("_T")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


class TryAgain(Exception):  # noqa: N818  it is no error yet
    """This attempt failed and another may not. asked is how many seconds the server wants to be left alone, or None."""

    def __init__(self, why: str, asked: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.asked = asked


@dataclass(frozen=True, slots=True)
class Source:
    """Where one file's bytes come from. etag is the hash under which the hub lists it.

    unverifiable: no hash of what is fetched will ever be known, so every answer must name the etag and come over TLS.
    """

    repo: str
    commit: str
    path: str
    size: int
    etag: str
    token: str | None = None
    endpoint: str | None = None
    unverifiable: bool = False

    @classmethod
    def of(
        cls,
        listing: Listing,
        file: HubFile,
        *,
        token: str | None = None,
        endpoint: str | None = None,
        unverifiable: bool = False,
    ) -> Source:
        """A listed file."""
        return cls(listing.repo, listing.commit, file.path, file.size, file.digest.value, token, endpoint, unverifiable)

    @property
    def url(self) -> str:
        """At the pinned commit: a branch may move while a download runs."""
        from huggingface_hub import constants

        endpoint = (self.endpoint or constants.ENDPOINT).rstrip("/")
        return f"{endpoint}/{self.repo}/resolve/{self.commit}/{quote(self.path)}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that begin at `start` of the file, in chunks as the network brings them.

    is_whole: a range was asked for, and the whole file comes.
    """

    start: int
    is_whole: bool
    chunks: Iterator[bytes]


@contextlib.contextmanager
def open_range(source: Source, start: int, end: int, patience: Patience) -> Iterator[Answer]:
    """Ask for bytes [start, end). A server that ignores ranges answers from 0, and may send more than was asked.

    Raises TryAgain, also while chunks are read, and HubError, HubAccessError, ModelNotFoundError, IntegrityError when
    trying again would bring the same. Each request goes to the hub, because the addresses it redirects to expire.
    """
    import httpx2
    from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined]  # public, but lazily exported

    headers = build_hf_headers(token=source.token, library_name="dspark-local")
    # A compressed answer would have other offsets.
    headers["Accept-Encoding"] = "identity"
    if (start, end) != (0, source.size):
        headers["Range"] = f"bytes={start}-{end - 1}"
    timeout = httpx2.Timeout(patience.stall_seconds, connect=patience.connect_seconds)
    try:
        with get_session().stream("GET", source.url, headers=headers, timeout=timeout) as response:
            _check_status(source, response)
            first = _check_answer(source, response, start, end)
            yield Answer(first, "Range" in headers and response.status_code == 200, response.iter_raw())
    except httpx2.RequestError as error:
        raise TryAgain(reason(error)) from error
    except OSError as error:
        # The hub's own errors are OSErrors too, and so is a full disk, which the caller's block may raise here.
        if type(error).__module__.startswith("huggingface_hub"):
            raise translate(error, source.repo, source.commit, source.path) from error
        raise


def read_range(source: Source, start: int, end: int, patience: Patience) -> bytes:
    """Bytes [start, end) at once, for headers. Raises TryAgain and what open_range raises."""
    content = bytearray()
    with open_range(source, start, end, patience) as answer:
        skip = start - answer.start
        for chunk in answer.chunks:
            content += chunk
            if len(content) >= skip + end - start:
                break
    if len(content) < skip + end - start:
        raise TryAgain("the answer was too short")
    return bytes(content[skip : skip + end - start])


def _check_status(source: Source, response: httpx2.Response) -> None:
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # public, but lazily exported

    status = response.status_code
    if status in (200, 206):
        return
    if status in _RETRIED:
        raise TryAgain(f"the server answered {status}", asked_wait(response.headers))
    if status == 416:
        raise _changed(source, "it is shorter than listed")
    if status in (400, 401, 403, 404, 410) and response.history:
        # Signed addresses of content servers expire; the hub gives out a fresh one.
        raise TryAgain(f"the content server answered {status}")
    response.read()
    hf_raise_for_status(response)
    raise HubError(f"The hub answers with status {status} for {source.path} of {source.repo}.")


def _check_answer(source: Source, response: httpx2.Response, start: int, end: int) -> int:
    """Where the answer begins. IntegrityError when it is of another file than the listed one."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TryAgain("the server compressed what must not be")
    linked = {
        answer.headers["x-linked-etag"].removeprefix("W/").strip('"').lower()
        for answer in (*response.history, response)
        if "x-linked-etag" in answer.headers
    }
    if linked - {source.etag}:
        raise _changed(source, f"the hub now names {linked.pop()[:12]}, it listed {source.etag[:12]}")
    if source.unverifiable:
        if not linked:
            raise HubError(
                f"The hub does not say which content it serves for a part of {source.path}.",
                hint="Pull without --draft-only: whole files are checked against their hash.",
            )
        if response.url.scheme != "https" and not is_loopback(response.url.host):
            raise HubError(f"A part of {source.path} would come unprotected, from {response.url.host}.")
    if response.status_code == 200:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None or int(match[1]) != start or int(match[2]) >= end:
        raise TryAgain("the answer was for another range")
    if match[3] not in ("*", str(source.size)):
        raise _changed(source, f"it has {match[3]} bytes, {source.size} were listed")
    return start


def _changed(source: Source, why: str) -> IntegrityError:
    return IntegrityError(
        f"The hub serves another {source.path} than it lists for {source.repo}: {why}.",
        hint="Run the same command again; if that persists, tell the owner of the repository or of the mirror.",
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this computer."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def patiently(ask: Callable[[], _T], name: str, patience: Patience) -> _T:
    """What `ask` returns, asked again while it raises TryAgain. In the end a HubError that calls it `name`."""
    fruitless = 0
    while True:
        try:
            return ask()
        except TryAgain as failure:
            fruitless += 1
            if fruitless >= patience.attempts:
                raise too_many_failures(name, fruitless, failure.why, 0) from failure
            time.sleep(patience.wait(fruitless, failure.asked))
