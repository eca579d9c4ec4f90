"""One file on its way: which pieces are still to be fetched, and the hash that follows behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dspark_local.errors import DsparkError, IntegrityError
from dspark_local.hub.errors import cannot_write, is_disk_full
from dspark_local.hub.events import FileProgress
from dspark_local.hub.part import Part
from dspark_local.hub.space import out_of_room
from dspark_local.hub.wanted import Wanted
from dspark_local.store.digests import Digest, hash_file, new_hasher

if TYPE_CHECKING:
    from filelock import BaseFileLock

_READ_BYTES = 4 * 2**20
_FOLLOW_SECONDS = 0.05
_CLOSE_SECONDS = 0.2
# A flipped bit on the way is mended by fetching the file once more; a second time it is no accident.
_FETCHES = 2


class Download:
    """Untouched at first, then open (its pieces can be claimed), at last closed: done, or with a failure.

    on_done is called in this file's own thread, before the file counts as done.
    """

    def __init__(self, wanted: Wanted, on_done: Callable[[Download], None], stopped: threading.Event) -> None:
        self.wanted = wanted
        self.note = ""
        self.failure: DsparkError | None = None
        self.is_done = False
        self.hexdigest = ""
        self.refetched_bytes = 0
        self.restarts = 0
        self.part: Part | None = None
        self._on_done = on_done
        self._stopped = stopped
        self._guard = threading.Lock()
        self._file_lock: BaseFileLock | None = None
        self._queue: list[int] = []
        self._at_work = 0
        self._ignores_ranges = False
        self._kept = wanted.kept_bytes()

    @property
    def is_closed(self) -> bool:
        """Nothing is left to do."""
        return self.is_done or self.failure is not None

    @property
    def done(self) -> int:
        """Bytes on the disk, those of a failed first fetch included."""
        if self.is_done:
            return self.total
        return self.refetched_bytes + (self.part.done if self.part is not None else self._kept)

    @property
    def total(self) -> int:
        """Bytes that it takes, with what has to be fetched again."""
        return self.wanted.nbytes + self.refetched_bytes

    def progress(self) -> FileProgress:
        """For the display."""
        done = self.part.done if self.part is not None else self._kept
        note = self.note or ("checking" if done == self.wanted.nbytes else "")
        return FileProgress(self.wanted.source.path, done, self.wanted.nbytes, note)

    def claim(self) -> int | None:
        """A piece to fetch, or None when there is none to be had now. Opens the file first."""
        with self._guard:
            if self.is_closed or not (self.part is not None or self._try_open()):
                return None
            if self._ignores_ranges and self._at_work:
                return None  # one connection brings everything
            assert self.part is not None
            while self._queue:
                index = self._queue.pop(0)
                if not self.part.is_full(index):
                    self._at_work += 1
                    return index
        return None

    def release(self, index: int) -> None:
        """The piece is fetched, or somebody else has to go on with it."""
        with self._guard:
            self._at_work -= 1
            if self.part is not None and not self.part.is_full(index):
                self._queue.insert(0, index)

    def fetch_alone(self) -> bool:
        """The server sends the whole file whatever is asked: True for the one connection that may go on."""
        with self._guard:
            first = not self._ignores_ranges
            self._ignores_ranges = True
            return first or self._at_work == 1

    def fail(self, failure: DsparkError) -> None:
        """Give up; what is there stays for the next run."""
        self.failure = self.failure or failure

    def close(self) -> None:
        """Let go of files and lock. After it nothing is written."""
        # A file's thread may hold the guard while the disk takes gigabytes; nobody who said stop waits for that.
        if self._guard.acquire(timeout=_CLOSE_SECONDS):
            try:
                if self.part is not None:
                    self.part.close()
                self._unlock()
            finally:
                self._guard.release()

    def _try_open(self) -> bool:
        from filelock import FileLock, Timeout

        if self._file_lock is not None:
            return False  # what another program left there is being checked
        self.wanted.lock.parent.mkdir(parents=True, exist_ok=True)
        self._file_lock = FileLock(self.wanted.lock, thread_local=False)
        try:
            self._file_lock.acquire(timeout=0)
        except Timeout:
            self._file_lock = None
            self.note = "another program is downloading it"
            return False
        self.note = ""
        if self.wanted.digest is not None and self.wanted.target.is_file():
            threading.Thread(target=self._judge_existing, args=(self.wanted.digest,), daemon=True).start()
            return False
        self.part = self.wanted.open_part()
        self._queue = list(range(len(self.part.pieces)))
        threading.Thread(target=self._follow, args=(self.part,), daemon=True).start()
        return True

    def _unlock(self) -> None:
        if self._file_lock is not None:
            self._file_lock.release()
            self._file_lock = None

    def _judge_existing(self, digest: Digest) -> None:
        """Another program finished the file meanwhile: check it, and fetch it if it is wrong."""
        try:
            self.note = "checking"
            found = hash_file(self.wanted.target, digest.kind)
            if found == digest.value:
                self.hexdigest = found
                self._on_done(self)
                self.is_done = True
            else:
                self.wanted.target.unlink()
        except OSError as error:
            self.fail(cannot_write(self.wanted.target, error))
        finally:
            with self._guard:
                self.note = ""
                self._unlock()

    def _follow(self, part: Part) -> None:
        """Hash what has arrived, from the start, until the file is complete; then judge it."""
        try:
            while not self._stopped.is_set() and not self.is_closed:
                found = self._hash(part)
                if found is None:
                    return
                if self._accept(part, found):
                    break
        except DsparkError as error:
            self.fail(error)
        except ValueError:
            if not self._stopped.is_set():  # else the file was closed under this thread, as it should be
                raise
        except OSError as error:
            self.fail(cannot_write(part.path, error) if not is_disk_full(error) else _out_of_room(self))

    def _hash(self, part: Part) -> str | None:
        hasher = new_hasher(self.wanted.digest.kind if self.wanted.digest else "sha256", part.size)
        position = 0
        with part.path.open("rb", buffering=0) as stream:
            while position < part.size:
                ready = min(part.frontier() - position, _READ_BYTES)
                if ready <= 0:
                    self._stopped.wait(_FOLLOW_SECONDS)
                if self._stopped.is_set() or self.failure is not None:
                    return None
                if ready <= 0:
                    continue
                chunk = stream.read(ready)
                if not chunk:
                    raise IntegrityError(
                        f"{part.path} became shorter while it was read.", hint="Run the command again."
                    )
                hasher.update(chunk)
                position += len(chunk)
        return hasher.hexdigest()

    def _accept(self, part: Part, found: str) -> bool:
        """Judge the complete file; False when it has to be fetched once more."""
        expected = self.wanted.digest
        fits = expected is None or found == expected.value
        if fits:
            part.flush()
        with self._guard:
            if self._stopped.is_set():
                return True
            if not fits:
                return not self._fetch_again(part, found)
            part.move_to(self.wanted.target)
            self._unlock()
        self.hexdigest = found
        self._on_done(self)
        self.is_done = True
        return True

    def _fetch_again(self, part: Part, found: str) -> bool:
        self.restarts += 1
        if self.restarts == _FETCHES:
            part.remove()
            self._unlock()
            self.fail(self.wanted.mismatch(found))
            return False
        self.refetched_bytes += self.wanted.nbytes
        part.discard()
        self._queue = list(range(len(part.pieces)))
        return True


def _out_of_room(download: Download) -> DsparkError:
    return out_of_room(download.wanted.target.parent, download.total - download.done, kept=download.done)
