"""How much of a streamed Markdown text to render now. Knows the text alone.

Rendering an append costs in proportion to the top-level block that is still open; a list of 16,000 characters takes
seconds. So a block that has grown long waits as plain text until it closes.
"""

from __future__ import annotations

import re

LONG_BLOCK_CHARS = 1000
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


class OpenBlockBuffer:
    """Splits a stream into what is rendered now and what is held back; order and content are never changed."""

    def __init__(self, long_block_chars: int = LONG_BLOCK_CHARS) -> None:
        self._limit = long_block_chars
        self._line = ""
        self._fence = ""
        self._open_chars = 0
        self.held = ""
        """Text taken in and not yet released."""

    def feed(self, text: str) -> str:
        """Take in `text`, return what to render now."""
        position = len(self.held)
        self.held += text
        closed = 0
        for piece in _LINES.findall(text):
            position += len(piece)
            self._line += piece
            if piece.endswith("\n"):
                if self._line_closes_block():
                    closed = position
                    self._open_chars = 0
                self._line = ""
        open_part = len(self.held) - closed
        release = len(self.held) if self._open_chars + open_part <= self._limit else closed
        if release > closed:
            self._open_chars += open_part
        ready, self.held = self.held[:release], self.held[release:]
        return ready

    def drain(self) -> str:
        """Everything held, at the end of the stream."""
        ready, self.held = self.held, ""
        return ready

    def _line_closes_block(self) -> bool:
        line = self._line.strip()
        marker = line[:3]
        if self._fence:
            if line.startswith(self._fence):
                self._fence = ""
                return True
            return False
        if marker in ("```", "~~~"):
            self._fence = marker
            return False
        return not line
