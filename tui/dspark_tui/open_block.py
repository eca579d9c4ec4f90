"""How much of a streamed Markdown text to render now, and where a new piece may begin. Knows the text alone.

Rendering an append costs in proportion to the top-level block that is still open; a list of 16,000 characters takes
seconds. So a paragraph or fence that has grown long waits as plain text until it closes, lists and tables come by whole
lines, and a long list is shown in pieces.
"""

from __future__ import annotations

import re

LONG_BLOCK_CHARS = 1000
PIECE_CHARS = 300
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_ITEM = re.compile(r"([-*+]|\d{1,9}[.)])[ \t]")


class OpenBlockBuffer:
    """Splits a stream into what is rendered now and what is held back; order and content are never changed."""

    def __init__(self, long_block_chars: int = LONG_BLOCK_CHARS) -> None:
        self._limit = long_block_chars
        self._line = ""
        self._fence = ""
        self._is_by_line = False
        self._open_chars = 0
        self._table_chars = 0
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
                if self._line_closes_block() and self._pays(position - closed):
                    closed = position
                    self._open_chars = 0
                self._line = ""
        open_part = len(self.held) - closed
        is_short = self._open_chars + open_part <= self._limit
        release = len(self.held) if is_short and not self._is_by_line else closed
        if release > closed:
            self._open_chars += open_part
        ready, self.held = self.held[:release], self.held[release:]
        return ready

    def drain(self) -> str:
        """Everything held, at the end of the stream."""
        ready, self.held = self.held, ""
        return ready

    def _pays(self, chars: int) -> bool:
        """A table is read anew at every append, so a long one waits until there is as much again of it."""
        if not self._line.startswith("|"):
            self._table_chars = 0
            return True
        if self._table_chars > self._limit and chars < self._table_chars:
            return False
        self._table_chars += chars
        return True

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
            self._is_by_line = False
            return False
        if _ITEM.match(line) or line.startswith("|"):
            self._is_by_line = True
        elif not line:
            self._is_by_line = False
        return not line or self._is_by_line


class PieceSplitter:
    """Says where in the released text a list has become long enough for its next item to begin a new piece."""

    def __init__(self, piece_chars: int = PIECE_CHARS) -> None:
        self._limit = piece_chars
        self._chars = 0
        self._at_line_start = True
        self._is_list = False
        self._fence = ""

    def split(self, text: str) -> list[str]:
        """The text in parts: the first goes on with the piece there is, each further one begins a new piece."""
        parts = [""]
        for line in _LINES.findall(text):
            if self._at_line_start and self._begins_piece(line):
                parts.append("")
                self._chars = 0
            parts[-1] += line
            self._chars += len(line)
            self._at_line_start = line.endswith("\n")
        return parts

    def _begins_piece(self, line: str) -> bool:
        marker = line.strip()[:3]
        if self._fence or marker in ("```", "~~~"):
            self._fence = "" if marker == self._fence else self._fence or marker
            self._is_list = self._is_list and line[0].isspace()
            return False
        if _ITEM.match(line):
            was_list, self._is_list = self._is_list, True
            if not was_list:
                self._chars = 0
            return was_list and self._chars >= self._limit
        if not line[0].isspace():
            self._is_list = False
        return False
