"""A screen as text and colours: taken from a running app, kept in a file to read, compared cell by cell."""

from __future__ import annotations

import difflib
import itertools
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from textual.app import App

_RULE = "=== "
_MOST_SHOWN = 8
_NAMES = string.ascii_letters
_ATTRIBUTES = ("bold", "italic", "underline", "strike")


@dataclass(frozen=True, slots=True)
class Picture:
    """text has a line a row; styles has a style a cell, such as `#e0e0e0 on #121212 bold`."""

    text: tuple[str, ...]
    styles: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, app: App[Any]) -> Picture:
        """What stands on the screen, what shines through a dialog included."""
        update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
        console = Console(width=app.size.width, height=app.size.height, color_system="truecolor")
        text, styles = [""], list[list[str]]([[]])
        for segment in console.render(update):  # type: ignore[arg-type]
            if segment.control:
                continue
            for at, part in enumerate(segment.text.split("\n")):
                if at:
                    text.append("")
                    styles.append([])
                text[-1] += part
                for character in part:
                    styles[-1] += [_described(segment.style or Style(), character)] * cell_len(character)
        return cls(tuple(line.rstrip() for line in text), tuple(map(tuple, styles)))


@dataclass(frozen=True, slots=True)
class Pictures:
    """One scene in several themes. The words are the same in all of them, or the first one's are kept and it shows."""

    by_theme: Mapping[str, Picture]

    def written(self) -> str:
        """The text, then for each theme its styles as runs of cells, rows that are alike together."""
        lines = list(next(iter(self.by_theme.values())).text)
        for theme, picture in self.by_theme.items():
            lines.append(f"{_RULE}{theme}")
            names = {style: _name(at) for at, style in enumerate(dict.fromkeys(itertools.chain(*picture.styles)))}
            lines += [f"{name} {style}" for style, name in names.items()]
            row = 1
            for cells, alike in itertools.groupby(picture.styles):
                count = len(list(alike))
                rows = f"{row}" if count == 1 else f"{row}-{row + count - 1}"
                lines.append(
                    " ".join([f"{rows}:", *(f"{names[s]}{len(list(r))}" for s, r in itertools.groupby(cells))])
                )
                row += count
        return "\n".join(lines) + "\n"

    @classmethod
    def read(cls, path: Path) -> Pictures:
        """What written() wrote."""
        text, *themes = re.split(rf"^{_RULE}(?=textual-)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        words = tuple(text.split("\n")[:-1])
        found = {}
        for theme in themes:
            name, *lines = theme.splitlines()
            names, rows = dict[str, str](), list[tuple[str, ...]]()
            for line in lines:
                head, _, rest = line.partition(" ")
                if head.endswith(":"):
                    cells = [(n, int(c)) for n, c in re.findall(r"([a-zA-Z]+)(\d+)", rest)]
                    first, _, last = head[:-1].partition("-")
                    row = tuple(itertools.chain.from_iterable([names[name]] * count for name, count in cells))
                    rows += [row] * (int(last or first) - int(first) + 1)
                else:
                    names[head] = rest
            found[name] = Picture(words, tuple(rows))
        return cls(found)


def differences(kept: Picture, now: Picture) -> list[str]:
    """What a person needs to know of it; nothing when both are the same."""
    if kept.text != now.text:
        lines = difflib.unified_diff(kept.text, now.text, "committed", "now", lineterm="", n=1)
        return [line for line in lines if not line.startswith(("---", "+++"))]
    told = list(_restyled(kept, now))
    more = [f"... and {len(told) - _MOST_SHOWN} more runs of cells"] if len(told) > _MOST_SHOWN else []
    return told[:_MOST_SHOWN] + more


def _restyled(kept: Picture, now: Picture) -> Iterator[str]:
    if len(kept.styles) != len(now.styles):
        yield f"{len(kept.styles)} rows were committed, {len(now.styles)} are there now"
    for row, (before, after) in enumerate(zip(kept.styles, now.styles, strict=False)):
        cells = enumerate(itertools.zip_longest(before, after, fillvalue="nothing"))
        for (old, new), run in itertools.groupby(cells, key=lambda cell: cell[1]):
            if old != new:
                columns = [column for column, _ in run]
                words = words_at(now, row, columns[0], columns[-1] + 1)
                yield f"row {row + 1}, columns {columns[0] + 1}-{columns[-1] + 1} {words!r}: {old} -> {new}"


def words_at(picture: Picture, row: int, begin: int, end: int) -> str:
    """The text between two columns of a row; a wide character belongs to its first."""
    column, found = 0, ""
    for character in picture.text[row]:
        found += character if begin <= column < end else ""
        column += cell_len(character)
    return found


def runs(picture: Picture) -> Iterator[tuple[int, int, str, str]]:
    """Row, first column, words and style of everything that is written."""
    for row, cells in enumerate(picture.styles):
        column = 0
        for style, run in itertools.groupby(cells):
            end = column + len(list(run))
            if words := words_at(picture, row, column, end).strip():
                yield row, column, words, style
            column = end


def contrast(style: str) -> float:
    """Of letters against what is behind them, 1 to 21, as WCAG 2 defines it."""
    front, back = (_luminance(colour) for colour in re.findall(r"#([0-9a-f]{6})", style))
    return (max(front, back) + 0.05) / (min(front, back) + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _described(style: Style, character: str) -> str:
    front, back = _hex(style.color, "#ffffff"), _hex(style.bgcolor, "#000000")
    if style.reverse:
        front, back = back, front
    attributes = [name for name in _ATTRIBUTES if getattr(style, name)]
    if character == " " and not {"underline", "strike"} & set(attributes):
        return f"on {back}"  # nobody sees the colour of a blank
    return " ".join([f"{front} on {back}", *attributes])


def _hex(color: Color | None, default: str) -> str:
    return default if color is None or color.is_default else color.get_truecolor().hex


def _name(at: int) -> str:
    more, rest = divmod(at, len(_NAMES))
    return (_NAMES[more - 1] if more else "") + _NAMES[rest]
