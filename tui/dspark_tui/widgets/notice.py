"""Things gone wrong, said in place: an error beside the prompt it belongs to, and an engine that has gone."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static


class ErrorNotice(Static):
    """One error, in the list where it happened."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class UnsavedNotice(ErrorNotice):
    """The disk refuses the conversation; it goes when the disk takes it again."""


class EngineNotice(Static, can_focus=True):
    """The engine is not there. r or Enter starts it again."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("r,enter", "restart", "Start the engine again", show=False)]

    class Restart(Message):
        """The person wants it back."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text}\n\nEverything said so far is kept. Press r or Enter to try again.", markup=False)

    def action_restart(self) -> None:
        """Ask for it."""
        self.post_message(self.Restart())

    def on_click(self) -> None:
        """Ask for it."""
        self.action_restart()
