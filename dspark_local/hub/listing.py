"""What a repository holds at one commit: paths, sizes and the hashes that the hub recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dspark_local.errors import HubError
from dspark_local.hub.errors import translate
from dspark_local.hub.events import Listener, Notice
from dspark_local.hub.patience import Patience, asked_wait
from dspark_local.store.digests import Digest

_T = TypeVar("_T")
_LISTING_ATTEMPTS = 4
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file. size in bytes; digest is what its content must hash to."""

    path: str
    size: int
    digest: Digest
    is_lfs: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of `repo` at `commit` (the full hash), which `revision` stands for now."""

    repo: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    def find(self, path: str) -> HubFile | None:
        """The file at this path, or None."""
        return next((file for file in self.files if file.path == path), None)


def list_files(
    repo: str,
    revision: str,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    patience: Patience | None = None,
    listener: Listener | None = None,
) -> Listing:
    """Ask the hub. token and endpoint None mean what the hub's own settings say.

    Raises HubAccessError, ModelNotFoundError and HubError. Answers of 408, 429 and 5xx and cut connections are tried
    again, as long as the server asks but no longer than patience bears.
    """
    from huggingface_hub import HfApi

    patience = patience or Patience()
    api = HfApi(endpoint=endpoint, token=token)

    def ask() -> Listing:
        commit = api.model_info(repo, revision=revision, timeout=patience.stall_seconds).sha
        if not commit:
            raise HubError(f"The hub does not say which commit {revision!r} of {repo} is.")
        return Listing(repo, revision, commit, tuple(_files(api.list_repo_tree(repo, revision=commit, recursive=True))))

    fruitless = 0
    while True:
        try:
            return _in_time(ask, 2 * patience.stall_seconds + patience.connect_seconds)
        except Exception as error:
            fruitless += 1
            wait = _wait_before_retry(error, fruitless, patience)
            if wait is None or fruitless >= min(patience.attempts, _LISTING_ATTEMPTS):
                raise translate(error, repo, revision) from error
            if listener is not None:
                listener(Notice(f"The hub is not ready to list {repo}; trying again in {wait:.0f} s."))
            time.sleep(wait)


def _files(entries: Any) -> list[HubFile]:
    from huggingface_hub.hf_api import RepoFile

    files = []
    for entry in entries:
        if not isinstance(entry, RepoFile):
            continue
        if entry.lfs is not None:
            files.append(HubFile(entry.path, entry.lfs.size, Digest("sha256", entry.lfs.sha256.lower()), True))
        else:
            files.append(HubFile(entry.path, entry.size, Digest("git-sha1", entry.blob_id.lower()), False))
    return files


def _wait_before_retry(error: Exception, fruitless: int, patience: Patience) -> float | None:
    """Seconds to wait, None when another attempt would bring the same."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in _RETRIED:
            return None
        asked = asked_wait(error.response.headers)
        return None if asked is not None and asked > patience.longest_asked_wait else patience.wait(fruitless, asked)
    if isinstance(error, httpx2.TransportError | TimeoutError):
        return patience.wait(fruitless, None)
    return None


def _in_time(ask: Callable[[], _T], seconds: float) -> _T:
    """The hub's client waits for ever on a silent server, and an interrupt has to wait with it: ask in a thread."""
    outcome: list[_T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            outcome.append(ask())
        except Exception as error:  # noqa: BLE001  raised again by the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.1)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError(f"the hub said nothing for {seconds:.0f} s")
    return outcome[0]
