"""Lists and tables as one widget each.

Textual's own take four widgets an item and one a cell, which a long answer feels at every render.

A list with anything else in it than text and further lists is left to Textual. This subclasses blocks of textual's
Markdown, whose parts have no public names; pyproject.toml holds textual to the major version that they are of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from markdown_it.token import Token
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBulletList,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
    MarkdownTable,
    MarkdownTBody,
    MarkdownTD,
    MarkdownTH,
    MarkdownTHead,
    MarkdownTR,
)

_BULLET_STYLE = "$text-primary"
_RULE_STYLE = "dim"
_BETWEEN = " │ "
_NARROWEST = 6

Row = tuple[str, Content]
"""What stands before a text, as wide as the text is indented, and the text."""


def list_rows(block: MarkdownBlock, before: str = "") -> list[Row] | None:
    """The rows of a list, those of lists in it further in; None if it holds anything else."""
    rows: list[Row] = []
    items = [item for item in block._blocks if isinstance(item, MarkdownListItem)]
    is_ordered = isinstance(block, MarkdownOrderedList)
    start = int(items[0].bullet) if is_ordered and items and items[0].bullet.isdigit() else 1
    bullets = [f"{start + at}. " if is_ordered else item.bullet for at, item in enumerate(items)]
    width = max(map(len, bullets), default=0) + (1 if is_ordered else 0)
    for bullet, item in zip(bullets, items, strict=True):
        lead = f"{before}{bullet.rjust(width)}"
        for part in item._blocks:
            if isinstance(part, MarkdownParagraph):
                rows.append((lead, part._content))
            elif isinstance(part, MarkdownList) and (inner := list_rows(part, " " * len(lead))) is not None:
                rows += inner
            else:
                return None
            lead = " " * len(lead)
    return rows


def list_lines(rows: list[Row], width: int) -> list[Content]:
    """The lines of a list that is `width` columns wide; wrapped text stays right of its bullet."""
    lines: list[Content] = []
    for lead, text in rows:
        wrapped = text.wrap(max(width - len(lead), _NARROWEST)) or [Content()]
        for at, line in enumerate(wrapped):
            lines.append((Content(" " * len(lead)) if at else Content.styled(lead, _BULLET_STYLE)) + line)
    return lines


def table_lines(headers: list[Content], rows: list[list[Content]], width: int) -> list[Content]:
    """The lines of a table of at most `width` columns; the widest columns give way, and their text is wrapped."""
    count = len(headers)
    widths = [max((row[at].cell_length for row in [headers, *rows] if at < len(row)), default=0) for at in range(count)]
    while sum(widths) + len(_BETWEEN) * (count - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    between = Content.styled(_BETWEEN, _RULE_STYLE)

    def lines_of(row: list[Content]) -> list[Content]:
        cells = [(row[at].wrap(widths[at]) if at < len(row) else []) for at in range(count)]
        height = max(map(len, cells), default=0)
        return [
            between.join(_padded(cell, line, widths[at]) for at, cell in enumerate(cells)) for line in range(height)
        ]

    rule = Content.styled("─┼─".join("─" * one for one in widths), _RULE_STYLE)
    lines = [line.stylize("bold") for line in lines_of(headers)]
    lines.append(rule)
    for row in rows:
        lines += lines_of(row)
    return lines


def _padded(cell: list[Content], line: int, width: int) -> Content:
    text = cell[line] if line < len(cell) else Content()
    return text.pad_right(max(width - text.cell_length, 0))


class _ByWidth:
    """Lines that depend on the width, kept for the last one asked for."""

    def __init__(self, build: Callable[[int], list[Content]]) -> None:
        self._build = build
        self._kept: tuple[int, Content, int] = (-1, Content(), 0)

    def at(self, width: int) -> tuple[Content, int]:
        """The text at this width, and how many lines it has."""
        if self._kept[0] != width:
            lines = self._build(width)
            self._kept = (width, Content("\n").join(lines), len(lines))
        return self._kept[1:]


# A plain class at run time, because a widget takes its style sheet from the first of its bases that is a widget.
if TYPE_CHECKING:
    _Block = MarkdownBlock
    _List = MarkdownList
else:
    _Block = _List = object


class _FlatBlock(_Block):
    """A block that draws itself, once `flat` is set."""

    flat: _ByWidth | None = None

    def render(self) -> Content:
        """All of it, for the width that it has."""
        return self.flat.at(self.content_size.width)[0] if self.flat is not None else Content()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines at this width."""
        if self.flat is None:
            return super().get_content_height(container, viewport, width)
        return self.flat.at(width)[1] if width else 0

    def on_resize(self, event: events.Resize) -> None:
        """Lines break elsewhere."""
        if self.flat is not None:
            self.refresh()

    def take_flat(self, flat: _ByWidth) -> None:
        """Show other lines."""
        self.flat = flat
        self.refresh(layout=True)


class _FlatList(_FlatBlock, _List):
    def compose(self) -> ComposeResult:
        """Nothing for a plain list, which draws itself."""
        if (rows := list_rows(self)) is not None:
            self._blocks.clear()
            self.flat = _ByWidth(lambda width: list_lines(rows, width))
        else:
            yield from super().compose()

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        rows = list_rows(block) if type(block) is type(self) and self.flat is not None else None
        if rows is None:
            await super()._update_from_block(block)
        else:
            self._copy_context(block)
            self.take_flat(_ByWidth(lambda width: list_lines(rows, width)))


class ChatBulletList(_FlatList, MarkdownBulletList):
    """A bullet list."""


class ChatOrderedList(_FlatList, MarkdownOrderedList):
    """A numbered list."""


class ChatTable(_FlatBlock, MarkdownTable):
    """A table."""

    def compose(self) -> ComposeResult:
        """Nothing: it draws itself."""
        self._take(self)
        yield from ()

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if isinstance(block, ChatTable):
            self._copy_context(block)
            self._take(block)
            self.refresh(layout=True)
        else:
            await super()._update_from_block(block)

    def _take(self, block: MarkdownTable) -> None:
        headers, rows = block._get_headers_and_rows()
        self.flat = _ByWidth(lambda width: table_lines(headers, rows, width))


class _TablePart(_Block):
    """A part of a table that only carries its text: never mounted, so it is not set up as a widget, which is dear."""

    def __init__(self, markdown: Markdown, token: Token) -> None:
        self._blocks = []
        self._content = Content()
        self._token = token

    def set_content(self, content: Content) -> None:
        """Keep the text."""
        self._content = content


def _light(part: type[MarkdownBlock]) -> type[MarkdownBlock]:
    return type(f"Light{part.__name__}", (_TablePart, part), {})


TABLE_PARTS = {
    "thead_open": _light(MarkdownTHead),
    "tbody_open": _light(MarkdownTBody),
    "tr_open": _light(MarkdownTR),
    "th_open": _light(MarkdownTH),
    "td_open": _light(MarkdownTD),
}
"""What a ChatTable is made of."""
