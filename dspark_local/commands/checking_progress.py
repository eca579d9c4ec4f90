"""Showing how far the reading of a model's files has got. Always on stderr: stdout is the answer's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dspark_local.sizes import format_bytes
from dspark_local.store.checking import Progress

_PIPE_SECONDS = 10.0


@contextmanager
def checking_progress() -> Iterator[Progress]:
    """A bar in a terminal, a line now and then elsewhere; nothing at all when there is nothing to read."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from dspark_local.commands.console import console, short_name

    columns = [TextColumn("checking {task.fields[file]}"), BarColumn(None), DownloadColumn(), TransferSpeedColumn()]
    with Progress(*columns, TimeRemainingColumn(), console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False, file="")

        def advance(name: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, file=short_name(name, 24), visible=True)

        yield advance


class _Lines:
    """A line when a check has taken ten seconds, and every ten from then on."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PIPE_SECONDS

    def __call__(self, name: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next and sys.stderr is not None:
            self._next = time.monotonic() + _PIPE_SECONDS
            print(f"checked {format_bytes(done)} of {format_bytes(total)}: {name}", file=sys.stderr, flush=True)
