"""Several connections that fetch several files, and the loop that watches over them.

The watching thread is the caller's, so Ctrl-C reaches it at once; the others are daemons that write nothing any more
once they are told to stop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dspark_local.errors import DsparkError, HubError, IntegrityError
from dspark_local.hub.download import Download
from dspark_local.hub.errors import CONTINUE, cannot_write, is_disk_full, too_many_failures
from dspark_local.hub.events import FileDone, Listener, Notice, Progress
from dspark_local.hub.patience import Patience
from dspark_local.hub.ranged import TryAgain, open_range
from dspark_local.hub.space import check_room, out_of_room
from dspark_local.hub.wanted import Wanted

_TICK_SECONDS = 0.1
_SPACE_SECONDS = 1.0
_IDLE_SECONDS = 0.1
_GRACE_SECONDS = 0.3


class Fleet:
    """Downloads `wanted` into place with `connections` connections in all.

    on_done(wanted, hexdigest) is called for each verified file, in the thread of that file. before counts bytes that
    were there at the start and belong to the display's total, moved_before those that were received by then. `shown`
    bytes are on the disk, `moved` came over the network, wasted ones included.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        *,
        connections: int,
        patience: Patience,
        listener: Listener,
        on_done: Callable[[Wanted, str], None],
        before: int = 0,
        moved_before: int = 0,
    ) -> None:
        self._patience = patience
        self._listener = listener
        self._on_done = on_done
        self._connections = connections
        self._before = before
        self._stopped = threading.Event()
        self._finished: list[Download] = []
        self._told_restarts: set[str] = set()
        self.moved = moved_before
        self._count_lock = threading.Lock()
        self._failure: BaseException | None = None
        self._downloads = [Download(each, self._file_done, self._stopped) for each in wanted]
        self.shown = before

    @property
    def total(self) -> int:
        """Bytes that the display counts up to."""
        return self._before + sum(download.total for download in self._downloads)

    def run(self) -> None:
        """Until every file is there. Raises the first failure: IntegrityError after all other files are complete, any
        other at once. KeyboardInterrupt passes through. In each case what was received stays for the next run.
        """
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self._connections)]
        for worker in workers:
            worker.start()
        try:
            self._watch()
        finally:
            self._stopped.set()
            deadline = time.monotonic() + _GRACE_SECONDS
            for worker in workers:
                worker.join(max(0.0, deadline - time.monotonic()))
            for download in self._downloads:
                download.close()
        failures = [download.failure for download in self._downloads if download.failure is not None]
        if failures:
            raise failures[0]

    def _watch(self) -> None:
        next_look = 0.0
        while True:
            self._tell()
            if self._failure is not None:
                raise self._failure
            stopping = [
                d for d in self._downloads if d.failure is not None and not isinstance(d.failure, IntegrityError)
            ]
            if stopping or all(download.is_closed for download in self._downloads):
                return
            if time.monotonic() >= next_look:
                self._check_room()
                next_look = time.monotonic() + _SPACE_SECONDS
            time.sleep(_TICK_SECONDS)

    def _tell(self) -> None:
        for download in self._downloads:
            if download.restarts and download.wanted.source.path not in self._told_restarts and not download.is_closed:
                self._told_restarts.add(download.wanted.source.path)
                self._listener(Notice(f"{download.wanted.source.path} arrived damaged and is fetched again."))
        while self._finished:
            download = self._finished.pop(0)
            self._listener(FileDone(download.wanted.source.path, download.wanted.nbytes))
        active = tuple(d.progress() for d in self._downloads if not d.is_closed and (d.part is not None or d.note))
        # Files are looked at one after the other while they grow, so a sum could be older than the one before.
        self.shown = max(self.shown, self._before + sum(download.done for download in self._downloads))
        self._listener(Progress(self.shown, self.total, self.moved, active))

    def _check_room(self) -> None:
        folders: dict[Path, int] = {}
        for download in self._downloads:
            if not download.is_closed:
                folder = download.wanted.target.parent
                folders[folder] = folders.get(folder, 0) + download.total - download.done
        check_room(folders, kept=self.shown)

    def _file_done(self, download: Download) -> None:
        try:
            self._on_done(download.wanted, download.hexdigest)
        except BaseException as error:  # noqa: BLE001  raised again by the watching thread
            self._failure = error
        self._finished.append(download)

    def _work(self) -> None:
        while not self._stopped.is_set():
            download, index = self._next()
            if download is None or index is None:
                if all(each.is_closed for each in self._downloads):
                    return
                self._stopped.wait(_IDLE_SECONDS)
                continue
            try:
                self._fetch(download, index)
            except DsparkError as error:
                download.fail(error)
            except OSError as error:
                if not self._stopped.is_set():
                    download.fail(self._disk_error(download, error))
            except Exception as error:  # noqa: BLE001  a defect; raised again by the watching thread
                self._failure = error
            finally:
                download.release(index)

    def _next(self) -> tuple[Download | None, int | None]:
        for download in self._downloads:
            try:
                index = download.claim()
            except OSError as error:
                download.fail(self._disk_error(download, error))
                continue
            if index is not None:
                return download, index
        return None, None

    def _disk_error(self, download: Download, error: OSError) -> DsparkError:
        if is_disk_full(error):
            return out_of_room(download.wanted.target.parent, self._missing(), kept=self.shown)
        return cannot_write(Path(error.filename or download.wanted.part), error)

    def _missing(self) -> int:
        return sum(each.total - each.done for each in self._downloads if not each.is_closed)

    def _fetch(self, download: Download, index: int) -> None:
        """One piece, through as many requests as it takes."""
        fruitless = 0
        part = download.part
        assert part is not None
        while not part.is_full(index) and not self._stopped.is_set() and not download.is_closed:
            before = part.done
            try:
                if not self._request(download, index):
                    return
            except TryAgain as failure:
                gained = part.done - before
                fruitless = 0 if gained >= self._patience.worthwhile_bytes else fruitless + 1
                self._pause(download, failure, fruitless)
            download.note = ""

    def _pause(self, download: Download, failure: TryAgain, fruitless: int) -> None:
        """Wait before the next attempt. HubError when there were enough, or when the server asks for too much."""
        name = f"{download.wanted.source.path} of {download.wanted.source.repo}"
        if fruitless >= self._patience.attempts:
            raise too_many_failures(name, fruitless, failure.why, download.done)
        if failure.asked is not None and failure.asked > self._patience.longest_asked_wait:
            raise HubError(
                f"The hub wants to be left alone for {failure.asked:.0f} s before it serves more of {name}.",
                hint=f"Try again then. {CONTINUE}",
            )
        seconds = self._patience.wait(fruitless, failure.asked)
        download.note = f"{failure.why}, retry in {seconds:.0f} s"
        self._stopped.wait(seconds)

    def _request(self, download: Download, index: int) -> bool:
        """One request. False when this connection is not needed any more. Raises TryAgain unless the piece is full."""
        part = download.part
        assert part is not None
        start, end = part.missing(index)
        with open_range(download.wanted.source, start, end, self._patience) as answer:
            download.note = ""
            position = answer.start
            if answer.is_whole and not download.fetch_alone():
                return False
            for chunk in answer.chunks:
                if self._stopped.is_set() or download.is_closed:
                    return False
                with self._count_lock:
                    self.moved += len(chunk)
                part.write(position, chunk)
                position += len(chunk)
        if not part.is_full(index):
            raise TryAgain("the answer was too short")
        return True
