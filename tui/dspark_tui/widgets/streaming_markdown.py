"""Markdown that grows while it is read. It renders as often as the machine can afford, and never much at once."""

from __future__ import annotations

import asyncio
import contextlib
import time

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widget import MountError
from textual.widgets import Static

from dspark_tui.open_block import OpenBlockBuffer, PieceSplitter
from dspark_tui.widgets.chat_markdown import ChatMarkdown

FLUSHES_PER_SECOND = 20
# After a flush, three times as long a rest as it took to reach the screen, in which keys are served.
_REST = 3.0
_PLAIN_CHARS = 600


class StreamingMarkdown(Vertical):
    """write() pieces, then finish(). It shows text; it is not where text is kept.

    A long list is a row of Markdown widgets: each keeps its layout while the next one grows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrived: list[str] = []
        self._buffer = OpenBlockBuffer()
        self._splitter = PieceSplitter()
        self._pieces = [ChatMarkdown()]
        self._held = HeldText()
        self._timer: Timer | None = None
        self._writing = asyncio.Lock()
        self._rest_until = 0.0
        self._is_over = False

    @property
    def source(self) -> str:
        """What has been rendered."""
        return "".join(piece.source for piece in self._pieces)

    def compose(self) -> ComposeResult:
        """The rendered part above the part that waits."""
        yield from self._pieces
        yield self._held

    def on_mount(self) -> None:
        """Begin to look for what has arrived."""
        self._timer = self.set_interval(1 / FLUSHES_PER_SECOND, self._flush)

    def write(self, text: str) -> None:
        """Take in a piece; it is on screen within a twentieth of a second, later where that costs too much."""
        self._arrived.append(text)

    async def finish(self) -> None:
        """Render all that is left. More than once does no harm."""
        async with self._writing:
            if self._is_over:
                return
            self._is_over = True
            if self._timer is not None:
                self._timer.stop()  # not sooner: that would end a flush half way, with text that is taken and not shown
            await self._show_more(self._buffer.feed(self._take()) + self._buffer.drain())
            await self._held.show("")
            self._pieces[-1].close_up()

    def on_unmount(self) -> None:
        """Nothing is rendered any more."""
        self._is_over = True
        if self._timer is not None:
            self._timer.stop()

    def _take(self) -> str:
        text = "".join(self._arrived)
        self._arrived.clear()
        return text

    async def _flush(self) -> None:
        if not self._arrived or self._is_over or self._writing.locked() or time.monotonic() < self._rest_until:
            return
        began = time.thread_time()
        async with self._writing:
            await self._show_more(self._buffer.feed(self._take()))
            await self._held.show(self._buffer.held)
        self.call_after_refresh(self._note_cost, began)

    def _note_cost(self, began: float) -> None:
        self._rest_until = time.monotonic() + _REST * (time.thread_time() - began)

    async def _show_more(self, text: str) -> None:
        first, *further = self._splitter.split(text)
        await self._append(first)
        for part in further:
            self._pieces[-1].close_up()
            self._pieces.append(ChatMarkdown())
            await self.mount(self._pieces[-1], before=self._held)
            await self._append(part)

    async def _append(self, text: str) -> None:
        if text:
            with contextlib.suppress(MountError):  # the list may be taken down meanwhile
                await self._pieces[-1].append_kindly(text)
            await asyncio.sleep(0)


class HeldText(Vertical):
    """Text that waits for its block to close, as it is. Only the last part is laid out again as it grows."""

    DEFAULT_CSS = "HeldText { height: auto; padding: 0 2; } HeldText > Static { height: auto; }"

    def __init__(self) -> None:
        super().__init__(classes="held")
        self._text = ""
        self._settled = 0
        self.display = False

    async def show(self, text: str) -> None:
        """Show `text`, which mostly goes on from what stands there."""
        self.display = bool(text)
        if not text or not text.startswith(self._text):
            self._settled = 0
            await self.remove_children()
        self._text = text
        if not text:
            return
        if not self.children:
            await self.mount(Static(markup=False))
        while (end := text.find("\n", self._settled + _PLAIN_CHARS)) >= 0:
            self._last.update(text[self._settled : end])
            self._settled = end + 1
            await self.mount(Static(markup=False))
        self._last.update(text[self._settled :])

    @property
    def _last(self) -> Static:
        last = self.children[-1]
        assert isinstance(last, Static)
        return last
