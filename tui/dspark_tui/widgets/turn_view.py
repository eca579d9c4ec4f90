"""One turn in the list: the prompt, the answer, and where there are several versions of it, which one this is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from dspark_tui.conversation import Turn
from dspark_tui.widgets.messages import AssistantMessage, UserMessage


class VersionMarker(Static, can_focus=True):
    """Like `◂ 2/3 ▸`: by click on either arrow, or with the arrow keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Version before", show=False),
        Binding("right", "step(1)", "Version after", show=False),
    ]

    @dataclass
    class Stepped(Message):
        """The person wants the version before (-1) or after (1)."""

        turn: Turn
        step: int

    def __init__(self, turn: Turn, number: int, total: int) -> None:
        super().__init__(f"◂ {number}/{total} ▸", classes="versions", markup=False)
        self.turn = turn
        self.display = total > 1

    def on_click(self, event: events.Click) -> None:
        """The left half goes back, the right half on."""
        self.action_step(-1 if event.x < self.size.width / 2 else 1)

    def action_step(self, step: int) -> None:
        """Ask for the neighbour."""
        self.post_message(self.Stepped(self.turn, step))


class TurnView(Vertical):
    """A turn that is_live is still being answered; any other is shown whole at once."""

    DEFAULT_CSS = """
    TurnView, TurnView > * { height: auto; }
    TurnView .versions { width: auto; height: 1; margin: 0 2; color: $text-muted; }
    TurnView .versions:hover, TurnView .versions:focus { text-style: reverse; }
    """

    def __init__(self, turn: Turn, version: int = 1, versions: int = 1) -> None:
        super().__init__()
        self.turn = turn
        self.answer = AssistantMessage(turn)
        self.marker = VersionMarker(turn, version, versions)
        self._is_live = turn.state == "answering"

    def compose(self) -> ComposeResult:
        """Prompt, answer, marker."""
        yield UserMessage(self.turn.prompt)
        yield self.answer
        yield self.marker

    async def on_mount(self) -> None:
        """What is complete needs no stream."""
        if not self._is_live:
            self.answer.markdown.write(self.turn.answer)
            await self.answer.finish()
