"""A small piece of work for the engine thread, and the future that waits for its result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from dspark_local.backend import Backend


class Errand:
    """`work` for the engine thread; its result or exception goes to `future`, in the future's own loop."""

    def __init__(self, work: Callable[[Backend], Any], future: asyncio.Future[Any]) -> None:
        self._work = work
        self._future = future

    def run(self, backend: Backend) -> None:
        """Do the work, unless nobody waits any more."""
        if self._future.cancelled():
            return
        try:
            result = self._work(backend)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and the engine goes on
            self.fail(error)
        else:
            self._tell(lambda: self._future.set_result(result))

    def fail(self, error: Exception) -> None:
        """Tell whoever waits that it came to nothing."""
        self._tell(lambda: self._future.set_exception(error))

    def _tell(self, settle: Callable[[], None]) -> None:
        def unless_cancelled() -> None:
            if not self._future.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to read
            self._future.get_loop().call_soon_threadsafe(unless_cancelled)
