"""Markdown that grows while it is read: at most 20 renders a second, and never a long open block at once."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from dspark_tui.open_block import OpenBlockBuffer

FLUSHES_PER_SECOND = 20


class StreamingMarkdown(Vertical):
    """write() pieces, then finish(). It shows text; it is not where text is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived: list[str] = []
        self._buffer = OpenBlockBuffer()
        self._markdown = Markdown()
        self._held = Static(classes="held", markup=False)
        self._stream: MarkdownStream | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The rendered part above the part that waits."""
        yield self._markdown
        yield self._held

    def on_mount(self) -> None:
        """Start the one writer that Markdown.append allows."""
        self._held.display = False
        self._stream = Markdown.get_stream(self._markdown)
        self._timer = self.set_interval(1 / FLUSHES_PER_SECOND, self._flush)

    def write(self, text: str) -> None:
        """Take in a piece; it is on screen within a twentieth of a second."""
        self._arrived.append(text)

    async def finish(self) -> None:
        """Render all that is left and end the stream. More than once does no harm."""
        if self._timer is not None:
            self._timer.stop()
        await self._flush()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.write(self._buffer.drain())
            await stream.stop()
            self._show_held()

    async def on_unmount(self) -> None:
        """The stream owns a task, which must not outlive the widget."""
        if self._timer is not None:
            self._timer.stop()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.stop()

    async def _flush(self) -> None:
        if not self._arrived or self._stream is None:
            return
        text = "".join(self._arrived)
        self._arrived.clear()
        await self._stream.write(self._buffer.feed(text))
        self._show_held()

    def _show_held(self) -> None:
        self._held.display = bool(self._buffer.held)
        self._held.update(self._buffer.held)
