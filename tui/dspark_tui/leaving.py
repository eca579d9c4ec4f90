"""Leaving when the terminal goes or the program is asked to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

PATIENCE_SECONDS = 10.0


def leave_on_signals(leave: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Call `leave` on SIGTERM and SIGHUP, and end the process if it is still here after so many seconds.

    A screen that hangs without a terminal would otherwise take a core for ever, where nobody sees it. What was said is
    on disk by then, and the engine ends with its standard input.
    """

    def on_signal(number: int, _: object) -> None:
        last_resort = threading.Timer(patience_seconds, os._exit, (128 + number,))
        last_resort.daemon = True
        last_resort.start()
        leave()

    for name in ("SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, on_signal)
