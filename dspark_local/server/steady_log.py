"""The log, written by a thread of its own: a pipe on standard error that nobody drains must never stall an answer."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator

_MOST_LINES = 2_000
_FLUSH_SECONDS = 1.0


class SteadyHandler(logging.Handler):
    """Writes lines to the file descriptor `fd`, and leaves out those that come while `most_lines` are waiting.

    The descriptor is written to directly: a thread that hangs in a write must not hold a lock that the interpreter
    wants when it ends.
    """

    def __init__(self, fd: int, most_lines: int = _MOST_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[bytes] = queue.Queue(most_lines)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler; returns at once."""
        try:
            line = self.format(record)
            if self._left_out:
                line = f"({self._left_out} lines were left out, as nobody read the log)\n{line}"
            self._lines.put_nowait(line.encode(errors="backslashreplace") + b"\n")
            self._left_out = 0
        except queue.Full:
            self._left_out += 1

    def flush(self) -> None:
        """Wait until all is written, for a second at most."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write_on(self) -> None:
        while True:
            line = self._lines.get()
            with contextlib.suppress(OSError):  # the reader is gone for good; serving goes on
                while line:
                    line = line[os.write(self._fd, line) :]
            self._lines.task_done()


@contextlib.contextmanager
def steady_stderr_log() -> Iterator[None]:
    """Within it, every root handler that writes to standard error does so from a thread of its own, in its format."""
    root = logging.getLogger()
    replaced: list[tuple[logging.Handler, SteadyHandler]] = []
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            with contextlib.suppress(OSError, ValueError):  # no file behind it
                replaced.append((handler, SteadyHandler(sys.stderr.fileno())))
    for handler, steady in replaced:
        steady.setFormatter(handler.formatter)
        steady.setLevel(handler.level)
        root.removeHandler(handler)
        root.addHandler(steady)
    try:
        yield
    finally:
        for handler, steady in replaced:
            steady.flush()
            root.removeHandler(steady)
            root.addHandler(handler)
