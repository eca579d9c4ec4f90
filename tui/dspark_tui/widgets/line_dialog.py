"""Asks for one line of text: a title, a path."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class LineDialog(ModalScreen[str | None]):
    """Enter gives the line, Esc gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", priority=True)]
    DEFAULT_CSS = """
    LineDialog { align: center middle; }
    LineDialog > Vertical { width: 76; max-width: 100%; height: auto; padding: 0 1; background: $surface; }
    LineDialog > Vertical { border: round $border; }
    LineDialog Static { height: auto; color: $text-muted; }
    """

    def __init__(self, question: str, value: str, explanation: str) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._explanation = explanation

    def compose(self) -> ComposeResult:
        """The line, and what it is for."""
        with Vertical() as box:
            box.border_title = self._question
            yield Input(self._value, compact=True, select_on_focus=False)
            yield Static(f"{self._explanation}\nEnter accepts, Esc cancels.", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Accept."""
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Cancel."""
        self.dismiss(None)
