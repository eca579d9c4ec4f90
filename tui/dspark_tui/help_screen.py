"""All keys on one page."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
Writing
  Enter           send
  Ctrl+J          new line (or Shift+Enter, where the terminal can tell)
  Up              in an empty box: bring back earlier prompts
Answering
  Esc             stop; what has arrived stays
  Ctrl+T          thinking on or off for the next answers
  Ctrl+Y          copy the last answer
  Tab, Enter      reach and unfold a thinking block
  Ctrl+R          answer the last prompt again; the old answer stays
Conversations
  Ctrl+N          new conversation; the old one stays on disk
  Ctrl+O          all of them: search, open, rename, delete, export,
                  import
  Alt+Up, F6      edit a prompt of yours, the last first; Enter sends a
                  new version, and what followed stays with the old one
  Alt+Left, F7    the version before, where a mark like 2/3 stands
  Alt+Right, F8   the version after
  PgUp, PgDn      scroll; at the end it follows the answer again
  F2 F3 F4        ask an example question, in an empty conversation
Program
  Ctrl+C          copy a selection, else stop the answer; twice to quit
  Ctrl+Q          quit
  F1, Esc         close this page

tok/s is decoding speed. tok/pass is how many tokens one pass of the model
yields: 1 without a draft, more with one. "spec on, 2 of 5, +18 %": of 5 drafts
about 2 are checked in a pass, which gains 18 % of speed; "paused" means that
drafts do not pay just now. The text is the same either way."""


class HelpScreen(ModalScreen[None]):
    """Any of F1, Esc, Enter, q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [("f1,escape,enter,q", "dismiss_help", "Close")]

    def compose(self) -> ComposeResult:
        """One scrollable page."""
        with VerticalScroll():
            yield Static(HELP, markup=False)

    def action_dismiss_help(self) -> None:
        """Close."""
        self.dismiss()
