"""One prompt and one answer in the list."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from dspark_tui.attachments import size_label
from dspark_tui.conversation import Turn
from dspark_tui.widgets.streaming_markdown import StreamingMarkdown
from dspark_tui.widgets.thinking import ThinkingBlock

_ENDINGS = {
    "stopped": "stopped",
    "interrupted": "interrupted",
    "length": "cut: the limit of tokens was reached",
}


class UserMessage(Static):
    """What the person wrote, letter by letter: never read as markup. Files show as chips; click or Enter unfolds."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "unfold", "Show the files", show=False)]

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)
        self._text = text
        self.is_open = False

    def on_mount(self) -> None:
        """The files are the turn's."""
        if self._turn is not None and self._turn.attachments:
            self.can_focus = True
            self._draw()

    @property
    def _turn(self) -> Turn | None:
        turn = getattr(self.parent, "turn", None)
        return turn if isinstance(turn, Turn) else None

    def on_click(self) -> None:
        """Fold or unfold the files."""
        self.action_unfold()

    def action_unfold(self) -> None:
        """Fold or unfold the files."""
        if self._turn is not None and self._turn.attachments:
            self.is_open = not self.is_open
            self._draw()

    def _draw(self) -> None:
        assert self._turn is not None
        parts = [Content(self._text)]
        for one in self._turn.attachments:
            line = f"\n{'▾' if self.is_open else '▸'} {one.name} · {size_label(one.size)}"
            parts.append(Content.styled(line, "$foreground 70%"))
            if self.is_open:
                parts.append(Content.styled(f"\n{one.text.rstrip()}", "$foreground 70%"))
        self.update(Content("").join(parts))


class AssistantMessage(Vertical):
    """The reasoning, the answer and one line of figures. Text is kept in the Turn, not here."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.thinking = ThinkingBlock()
        self.markdown = StreamingMarkdown()
        self.footer = Static(classes="footer", markup=False)
        self.names_model = False

    def compose(self) -> ComposeResult:
        """Reasoning, answer, figures."""
        yield self.thinking
        yield self.markdown
        yield self.footer

    def on_mount(self) -> None:
        """What is there of an answer that goes on stands first; figures come at the end."""
        self.footer.display = False
        if self.turn.answer:
            self.markdown.write(self.turn.answer)

    async def finish(self) -> None:
        """Show how the answer ended."""
        await self.markdown.finish()
        self.thinking.close(self.turn.reasoning, self.turn.thinking_seconds)
        self.footer.update(footer_text(self.turn, names_model=self.names_model))
        self.footer.display = True
        self.set_class(self.turn.state in _ENDINGS, "-cut-off")


def footer_text(turn: Turn, *, names_model: bool = False) -> str:
    """Like `stopped · 120 tokens · 41.3 tok/s · 3.40 tok/pass · first token 0.4 s`, and where asked for the model."""
    parts = [_ENDINGS[turn.state]] if turn.state in _ENDINGS else []
    if turn.state == "interrupted" and turn.interruption:
        parts[0] += f": {turn.interruption}"
    if turn.completion_tokens:
        parts.append(f"{turn.completion_tokens:,} tokens")
    if turn.tokens_per_second:
        parts.append(f"{turn.tokens_per_second:.1f} tok/s")
    if turn.accepted_length:
        parts.append(f"{turn.accepted_length:.2f} tok/pass")
    if turn.first_token_seconds:
        parts.append(f"first token {turn.first_token_seconds:.1f} s")
    if names_model and turn.model:
        parts.append(turn.model)
    return " · ".join(parts)
