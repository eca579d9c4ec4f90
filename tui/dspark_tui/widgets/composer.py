"""The prompt box: Enter sends, Ctrl+J adds a line, Up in an empty box brings back earlier prompts."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widgets import TextArea

PLACEHOLDER = "Ask something. Enter sends, Ctrl+J adds a line."


class Composer(TextArea):
    """Grows from one line to six."""

    @dataclass
    class Submitted(Message):
        """The person pressed Enter; the text stays in the box until it is taken."""

        text: str

    def __init__(self) -> None:
        super().__init__(placeholder=PLACEHOLDER, show_line_numbers=False, soft_wrap=True, tab_behavior="focus")
        self._sent: list[str] = []
        self._recalled = 0

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self.post_message(self.Submitted(self.text))
        elif event.key in ("shift+enter", "ctrl+j"):
            self.insert("\n")
        elif event.key == "up" and self._can_recall():
            self._recall()
        else:
            self._recalled = 0 if event.is_printable else self._recalled
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    def take(self) -> str:
        """Empty the box for sending and remember the prompt."""
        text = self.text
        self._sent.append(text)
        self._recalled = 0
        self.clear()
        return text

    def give_back(self, text: str) -> None:
        """Return a prompt that could not be sent, above anything written since."""
        self.text = f"{text}\n{self.text}" if self.text.strip() else text
        self.move_cursor(self.document.end)

    def _can_recall(self) -> bool:
        if self._recalled >= len(self._sent):
            return False
        return not self.text or (self._recalled > 0 and self.text == self._sent[-self._recalled])

    def _recall(self) -> None:
        self._recalled += 1
        self.text = self._sent[-self._recalled]
        self.move_cursor(self.document.end)
