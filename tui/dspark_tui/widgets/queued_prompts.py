"""The prompts that wait for the answer under way: a line each above the box, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from dspark_tui.unsent import Prompt

_REMOVE = "✕ "
_SHOWN = 4


class QueuedLine(Static, can_focus=True):
    """One waiting prompt: Enter or a click brings it back to the box, Delete, x or a click on its cross removes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,e", "take('edit')", "Edit", show=False),
        Binding("delete,backspace,x", "take('remove')", "Remove", show=False),
    ]

    @dataclass
    class Taken(Message):
        """The prompt leaves the queue, for the box or for good."""

        prompt: Prompt
        is_edited: bool

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._prompt = Prompt("")
        self.display = False

    def show(self, number: int, prompt: Prompt | None) -> None:
        """Show the prompt at this place; None hides the line."""
        self.display = prompt is not None
        if prompt is None:
            return
        self._prompt = prompt
        files = f" · {len(prompt.files)} {'file' if len(prompt.files) == 1 else 'files'}" if prompt.files else ""
        self.update(f"{_REMOVE}{number}. {' '.join(prompt.text.split())[:200]}{files}")

    def on_click(self, event: events.Click) -> None:
        """The cross removes, the rest edits."""
        self.action_take("remove" if event.x < len(_REMOVE) else "edit")

    def action_take(self, what: str) -> None:
        """Ask for it."""
        self.post_message(self.Taken(self._prompt, what == "edit"))


class QueuedPrompts(Vertical):
    """Shows the queue that it is given, its first prompts when it is long."""

    DEFAULT_CSS = """
    QueuedPrompts { height: auto; padding: 0 2; }
    QueuedPrompts > * { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    QueuedPrompts > .state { color: $text-muted; }
    QueuedPrompts.-paused > .state { color: $text-warning; }
    QueuedLine:focus { text-style: reverse; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._state = Static(classes="state", markup=False)
        self._lines = [QueuedLine() for _ in range(_SHOWN)]
        self.display = False

    def compose(self) -> ComposeResult:
        """What holds for all of them, then a line each."""
        yield self._state
        yield from self._lines

    def show(self, queue: Sequence[Prompt], *, is_paused: bool) -> None:
        """Draw anew."""
        self.display = bool(queue)
        self.set_class(is_paused, "-paused")
        for at, line in enumerate(self._lines):
            line.show(at + 1, queue[at] if at < len(queue) else None)
        more = f" and {len(queue) - _SHOWN:,} more" if len(queue) > _SHOWN else ""
        state = f"Queued{more} · Alt+Up brings the last one back to the box"
        if is_paused:
            state = f"Queue paused{more} · Enter in the empty box sends it on · Alt+Up edits"
        self._state.update(state)
