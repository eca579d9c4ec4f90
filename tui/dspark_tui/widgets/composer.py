"""The prompt box: Enter sends, Ctrl+J adds a line, Up in an empty box brings back earlier prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from dspark_tui.prompt_history import PromptHistory
from dspark_tui.slash import escaped, parse, plain

PLACEHOLDER = "Ask something. Enter sends, Ctrl+J adds a line, / lists commands."


class Composer(TextArea):
    """Grows from one line to six."""

    DEFAULT_CSS = """
    Composer { min-width: 12; } /* a box of no columns cannot draw its placeholder, and raises */
    """

    @dataclass
    class Submitted(Message):
        """The person pressed Enter; the text stays in the box until it is taken."""

        text: str

    @dataclass
    class Commanded(Message):
        """The person pressed Enter on a slash command; it stays in the box until take_command()."""

        name: str
        argument: str

    def __init__(self) -> None:
        super().__init__(placeholder=PLACEHOLDER, show_line_numbers=False, soft_wrap=True, tab_behavior="focus")
        self.key_takers: list[Callable[[str], bool]] = []
        """Lists that stand over the box: each is offered every key first, and says whether it took it."""
        self.load_history: Callable[[], list[str]] | None = None
        """Called once, at the first step back: the prompts of earlier conversations, the oldest first."""
        self._history = PromptHistory()

    async def _on_key(self, event: events.Key) -> None:
        if any(take(event.key) for take in self.key_takers):
            pass
        elif event.key == "enter":
            self._send()
        elif event.key in ("shift+enter", "ctrl+j"):
            self.insert("\n")
        elif not (event.key in ("up", "down") and self._recall(-1 if event.key == "up" else 1)):
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    @property
    def takes_commands(self) -> bool:
        """Whether a stroke begins a command: not while an earlier prompt, named in the title, is edited."""
        return not self.border_title

    def _send(self) -> None:
        command = parse(self.text.rstrip()) if self.takes_commands else None
        if command is not None:
            self.post_message(self.Commanded(*command))
        else:
            self.post_message(self.Submitted(self.text))

    def take(self) -> str:
        """Empty the box for sending and remember the prompt."""
        text = plain(self.text) if self.takes_commands else self.text
        self._history.add(escaped(text))
        self.clear()
        return text

    def take_command(self) -> None:
        """Empty the box of a command that is being obeyed, and remember it."""
        self._history.add(self.text)
        self.clear()

    def write(self, text: str) -> None:
        """Put this into the box in place of what is there, with the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def give_back(self, text: str) -> None:
        """Return a prompt that could not be sent, above anything written since."""
        text = escaped(text)
        self.write(f"{text}\n{self.text}" if self.text.strip() else text)

    def _recall(self, step: int) -> bool:
        if self.load_history is not None and not self.text:
            self._history.extend([escaped(prompt) for prompt in self.load_history()])
            self.load_history = None
        is_at_edge = self.cursor_at_first_line if step < 0 else self.cursor_at_last_line
        text = self._history.step(step, self.text) if is_at_edge or not self.text else None
        if text is None:
            return False
        self.write(text)
        return True
