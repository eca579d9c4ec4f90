"""Markdown as the chat shows it: fences carry a mark that copies them, and are coloured off the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, Markdown, Static
from textual.widgets.markdown import MarkdownFence

from dspark_tui.widgets.flat_blocks import TABLE_PARTS, ChatBulletList, ChatOrderedList, ChatTable

_LONG_CHARS = 1000
_LABEL_LINES = 40


class CopyMark(Static):
    """The corner of a fence: its language, and a click that copies it."""

    def __init__(self, language: str) -> None:
        super().__init__(f"{language} · copy" if language else "copy", markup=False)

    def on_click(self) -> None:
        """Ask for the code of the fence."""
        fence = self.parent
        assert isinstance(fence, ChatFence)
        self.post_message(ChatFence.Copied(fence.code))


class ChatFence(MarkdownFence):
    """A code block with a CopyMark above its first line."""

    DEFAULT_CSS = """
    ChatFence { overflow: hidden; }
    ChatFence > Label { width: 100%; padding: 0 2; }
    ChatFence > CopyMark { height: 1; padding: 0 1; text-align: right; color: $text-muted; }
    ChatFence > CopyMark:hover { text-style: reverse; }
    """

    @dataclass
    class Copied(Message):
        """The person wants this code."""

        code: str

    _labels: Sequence[Label] = ()

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """Coloured, from the cache if it was coloured before."""
        return _highlighted(code, language, ansi, dark)

    def compose(self) -> ComposeResult:
        """The mark above the code, which stands in several labels: only those in sight are rendered."""
        yield CopyMark(self.lexer)
        self._labels = [Label(part, expand=True) for part in self._parts()]
        yield from self._labels

    def _parts(self) -> tuple[Content, ...]:
        app = self.app
        return _highlighted_parts(self.code, self.lexer, app.native_ansi_color, app.current_theme.dark)

    def set_content(self, content: Content) -> None:
        """Show other code; labels that stay the same are not touched."""
        self._content = content
        if not self._labels:  # compose() has not run yet, and takes it then
            return
        parts = self._parts()
        for label, part in zip(self._labels, parts, strict=False):
            if label.content != part:
                label.update(part)
        if further := [Label(part, expand=True) for part in parts[len(self._labels) :]]:
            self._labels = [*self._labels, *further]
            self.mount(*further)
        for label in self._labels[len(parts) :]:
            label.update("")


@functools.lru_cache(maxsize=64)
def _highlighted(code: str, language: str, ansi: bool, dark: bool) -> Content:
    return MarkdownFence.highlight(code, language, ansi, dark)


@functools.lru_cache(maxsize=64)
def _highlighted_parts(code: str, language: str, ansi: bool, dark: bool) -> tuple[Content, ...]:
    lines = _highlighted(code, language, ansi, dark).split("\n", allow_blank=True)
    return tuple(Content("\n").join(lines[at : at + _LABEL_LINES]) for at in range(0, len(lines), _LABEL_LINES))


class ChatMarkdown(Markdown):
    """Markdown whose fences are ChatFences."""

    BLOCKS = Markdown.BLOCKS | {
        "fence": ChatFence,
        "code_block": ChatFence,
        "bullet_list_open": ChatBulletList,
        "ordered_list_open": ChatOrderedList,
        "table_open": ChatTable,
        **TABLE_PARTS,
    }  # as its base declares it

    def __init__(self) -> None:
        super().__init__(open_links=False)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Open what leads to the web; a model's text must open nothing else on this computer."""
        if event.href.startswith(("https://", "http://")):
            self.app.open_url(event.href)

    async def append_kindly(self, text: str) -> None:
        """Append; long code is coloured in a thread first, so that keys are served meanwhile."""
        if len(text) > _LONG_CHARS:
            ansi, dark = self.app.native_ansi_color, self.app.current_theme.dark
            await asyncio.to_thread(_colour_fences, self.source + text, ansi, dark)
        await self.append(text)

    def close_up(self) -> None:
        """Take the margin from the last block; in a style sheet that rule would be tried on every widget added."""
        for block in self.children[-1:]:
            block.styles.margin = (block.styles.margin.top, 0, 0, 0)


def _colour_fences(source: str, ansi: bool, dark: bool) -> None:
    for token in MarkdownIt("gfm-like").parse(source):
        if token.type == "fence" and len(token.content) > _LONG_CHARS:
            _highlighted_parts(token.content.rstrip(), token.info, ansi, dark)
