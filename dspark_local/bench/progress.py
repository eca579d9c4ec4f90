"""How far a measurement is, on one line of a terminal; nothing anywhere else."""

from __future__ import annotations

import sys


class ProgressLine:
    """Rewrites its line on stderr when that is a terminal."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown = 0

    def show(self, text: str) -> None:
        """Replace what stands there, by plain spaces: not every terminal knows more."""
        if self._is_terminal:
            print(f"\r{text:<{self._shown}}", end="", file=sys.stderr, flush=True)
            self._shown = len(text)

    def clear(self) -> None:
        """Leave the line empty."""
        self.show("")
        if self._is_terminal:
            print("\r", end="", file=sys.stderr, flush=True)
        self._shown = 0
