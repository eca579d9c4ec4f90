"""Keeps native libraries off the screen: what they write to file descriptor 2 goes to a log file.

Textual itself draws through sys.__stderr__, so that gets a copy of the terminal first.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def guarded_stderr(log_path: Path) -> Iterator[None]:
    """Within the block descriptor 2 and sys.stderr write to `log_path`, and sys.__stderr__ is the terminal.

    Raises OSError.
    """
    original, original_dunder = sys.stderr, sys.__stderr__
    original.flush()
    terminal_fd = os.dup(2)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    terminal = os.fdopen(terminal_fd, "w", encoding="utf-8", closefd=False)
    log = os.fdopen(log_fd, "w", encoding="utf-8", buffering=1, closefd=False)
    os.dup2(log_fd, 2)
    sys.__stderr__ = terminal  # type: ignore[misc]  # typed as final; there is no other way in
    sys.stderr = log
    try:
        yield
    finally:
        for stream in (terminal, log):
            with contextlib.suppress(OSError):  # the terminal may have gone, the disk be full
                stream.flush()
        os.dup2(terminal_fd, 2)
        sys.stderr, sys.__stderr__ = original, original_dunder  # type: ignore[misc]
        os.close(terminal_fd)
        os.close(log_fd)
