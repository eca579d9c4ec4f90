"""One turn in the list: the prompt, the answer, and where there are several versions of it, which one this is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import MountError, Widget
from textual.widgets import Static

from dspark_tui.conversation import Turn
from dspark_tui.widgets.chat_markdown import ChatMarkdown
from dspark_tui.widgets.messages import AssistantMessage, UserMessage, footer_text
from dspark_tui.widgets.thinking import ThinkingBlock


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

    def on_click(self, event: events.Click) -> None:
        """The left half goes back, the right half on."""
        self.action_step(-1 if event.x < self.size.width / 2 else 1)

    def action_step(self, step: int) -> None:
        """Ask for the neighbour."""
        self.post_message(self.Stepped(self.turn, step))


class TurnView(Vertical):
    """One turn. While it is answered it holds an AssistantMessage; a turn that is complete needs fewer widgets."""

    DEFAULT_CSS = """
    TurnView, TurnView > * { height: auto; }
    TurnView > Markdown { margin: 1 0 0 0; padding: 0 2; }
    TurnView > ThinkingBlock { margin: 1 0 0 0; }
    TurnView > .footer { color: $text-muted; padding: 0 2; }
    TurnView > .footer.-cut-off { color: $text-warning; }
    TurnView > .versions { width: auto; margin: 0 2; color: $text-muted; }
    TurnView > .versions:hover, TurnView > .versions:focus { text-style: reverse; }
    """

    def __init__(self, turn: Turn, version: int = 1, versions: int = 1, *, names_model: bool = False) -> None:
        super().__init__()
        self.turn = turn
        self.names_model = names_model
        self.live = AssistantMessage(turn) if turn.state == "answering" else None
        if self.live is not None:
            self.live.names_model = names_model
        self.marker = VersionMarker(turn, version, versions) if versions > 1 else None
        self._thinking = ThinkingBlock() if self.live is None and turn.reasoning else None
        self._markdown = ChatMarkdown() if self.live is None and turn.answer else None

    @property
    def answer(self) -> Widget | None:
        """What shows the answer of a turn that is complete."""
        return self._markdown

    def compose(self) -> ComposeResult:
        """Prompt, reasoning, answer, figures, marker: what there is of them."""
        turn = self.turn
        if turn.prompt:
            yield UserMessage(turn.prompt)
        if self.live is not None:
            yield self.live
        else:
            if self._thinking is not None:
                yield self._thinking
            if self._markdown is not None:
                yield self._markdown
            if figures := footer_text(turn, names_model=self.names_model):
                cut_off = turn.state not in ("complete", "answering")
                yield Static(figures, classes="footer -cut-off" if cut_off else "footer", markup=False)
        if self.marker is not None:
            yield self.marker

    def name_model(self) -> None:
        """Another model has answered too: say in the footer which one this was."""
        self.names_model = True
        if self.live is not None:
            self.live.names_model = True
        for footer in self.query(".footer").results(Static):
            footer.update(footer_text(self.turn, names_model=True))

    async def fill(self) -> None:
        """Render what is complete; after it the height is final. Call once, mounted."""
        if self._thinking is not None:
            self._thinking.close(self.turn.reasoning, self.turn.thinking_seconds)
        if self._markdown is not None:
            with contextlib.suppress(MountError):  # the list may be taken down meanwhile
                await self._markdown.update(self.turn.answer)
                self._markdown.close_up()
