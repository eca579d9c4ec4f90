"""All keys and commands on one page, made from the list of actions, and what the figures mean."""

from __future__ import annotations

from typing import ClassVar, get_args

from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from dspark_tui.actions import ACTIONS, Group
from dspark_tui.keymap import Keymap
from dspark_tui.slash import usage

_Row = tuple[str, str, str]

# What no action does: the box, the focus, pairs of keys that read better together.
_MORE: dict[str, tuple[_Row, ...]] = {
    "Writing": (
        ("Enter", "", "Send"),
        ("Ctrl+J", "", "New line (or Shift+Enter, where the terminal can tell)"),
        ("Up, Down", "", "In an empty box: earlier prompts, of all conversations"),
        ("", "/…", "Commands; // begins a message with a stroke"),
    ),
    "Answering": (("Tab, Enter", "", "Reach and unfold a thinking block"),),
    "Showing": (("PgUp, PgDn", "", "Scroll; at the end it follows the answer again"),),
    "Program": (
        ("Ctrl+C", "", "Copy a selection, else stop the answer; twice to quit"),
        ("F2 F3 F4", "", "Ask an example question, in an empty conversation"),
    ),
}
_FIGURES = (
    "tok/s is decoding speed. tok/pass is how many tokens one pass of the model yields: 1 without a draft, more with "
    "one. “spec on, 2 of 5, +18 %”: of 5 drafts about 2 are checked in a pass, which gains 18 % of speed; “paused”: "
    "drafts do not pay just now. The text is the same either way."
)
_WIDE = 156
_KEYS_WIDTH, _COMMAND_WIDTH = 13, 20


class HelpScreen(ModalScreen[None]):
    """Any of F1, Esc, Enter, q closes it. Two columns where there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [("f1,escape,enter,q", "dismiss_help", "Close")]
    DEFAULT_CSS = """
    HelpScreen > VerticalScroll > Horizontal { height: auto; layout: vertical; }
    HelpScreen > VerticalScroll.-wide > Horizontal { layout: horizontal; }
    HelpScreen > VerticalScroll > Horizontal > Vertical { height: auto; width: 1fr; }
    HelpScreen > VerticalScroll.-wide > Horizontal > Vertical { width: 50%; padding: 0 2 0 0; }
    """

    def __init__(self, keys: Keymap) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Groups in two halves of about the same length, then the words."""
        groups = {group: self._rows(group) for group in get_args(Group)}
        half, left, right = sum(map(len, groups.values())) / 2, list[Static](), list[Static]()
        placed = 0
        for group, rows in groups.items():
            if rows:
                (left if placed + len(rows) / 2 <= half else right).append(Static(_table(group, rows)))
                placed += len(rows)
        with VerticalScroll() as page:
            page.border_title = "Keys and commands"
            page.border_subtitle = "Esc closes"
            with Horizontal():
                yield Vertical(*left)
                yield Vertical(*right)
            yield Static(_FIGURES, markup=False)

    def _rows(self, group: str) -> list[_Row]:
        shown = [action for action in ACTIONS if action.group == group and action.title]
        rows = [(self._keys.label(one.id), usage(one) if one.slash else "", one.title) for one in shown]
        return [*_MORE.get(group, ()), *rows]

    def on_resize(self, event: events.Resize) -> None:
        """One column or two."""
        page, is_wide = self.query_one(VerticalScroll), event.size.width >= _WIDE
        page.set_class(is_wide, "-wide")
        page.styles.width = _WIDE if is_wide else 100

    def action_dismiss_help(self) -> None:
        """Close."""
        self.dismiss()


def _table(group: str, rows: list[_Row]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=_KEYS_WIDTH)
    table.add_column(width=_COMMAND_WIDTH)
    table.add_column(ratio=1)
    table.add_row(Text(group, style="bold underline"))
    for keys, command, title in rows:
        table.add_row(Text(keys, style="bold"), Text(command, style="bold"), Text(title))
    table.add_row()
    return table
