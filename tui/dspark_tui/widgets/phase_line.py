"""The line above the box: what is going on, for a moment a hint, and in idle times the keys worth knowing."""

from __future__ import annotations

import time

from rich.cells import cell_len
from textual.visual import VisualType
from textual.widgets import Static

_HINT_SECONDS = 2.5


class OneLine(Static):
    """A line that is written many times a second; no new layout for it, and nothing when it stays the same."""

    def __init__(self, widget_id: str) -> None:
        super().__init__(id=widget_id, markup=False)
        self._line: VisualType = ""

    def update(self, content: VisualType = "", *, layout: bool = False) -> None:
        """Show `content`, unless it stands there already."""
        if content != self._line:
            self._line = content
            super().update(content, layout=layout)


class PhaseLine(OneLine):
    """hint() says something for a moment; show() is called a few times a second.

    A hint that is longer than the line gets up to three: the end of it says what to do.
    """

    def __init__(self) -> None:
        super().__init__("phase")
        self.last_hint = ""
        self._hint_until = 0.0

    def hint(self, text: str, seconds: float = _HINT_SECONDS) -> None:
        """Say `text` for so many seconds."""
        self.last_hint = text
        self._hint_until = time.monotonic() + seconds

    def forget(self) -> None:
        """A hint that still stands has been followed."""
        self._hint_until = 0.0

    def show(self, text: str) -> None:
        """Show `text`, unless a hint still stands."""
        shows_hint = time.monotonic() < self._hint_until
        is_long = shows_hint and cell_len(self.last_hint) > self.content_size.width > 0
        self.set_class(shows_hint, "-hint")
        self.set_class(is_long, "-long")
        self.update(self.last_hint if shows_hint else text, layout=is_long)
