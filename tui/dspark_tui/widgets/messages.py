"""One prompt and one answer in the list."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from dspark_tui.conversation import Turn
from dspark_tui.widgets.streaming_markdown import StreamingMarkdown
from dspark_tui.widgets.thinking import ThinkingBlock

_ENDINGS = {
    "stopped": "stopped",
    "interrupted": "interrupted: the engine went away",
    "length": "cut: the limit of tokens was reached",
}


class UserMessage(Static):
    """What the person wrote, letter by letter: never read as markup."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class AssistantMessage(Vertical):
    """The reasoning, the answer and one line of figures. Text is kept in the Turn, not here."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.thinking = ThinkingBlock()
        self.markdown = StreamingMarkdown()
        self.footer = Static(classes="footer", markup=False)

    def compose(self) -> ComposeResult:
        """Reasoning, answer, figures."""
        yield self.thinking
        yield self.markdown
        yield self.footer

    def on_mount(self) -> None:
        """Figures come at the end."""
        self.footer.display = False

    async def finish(self) -> None:
        """Show how the answer ended."""
        await self.markdown.finish()
        self.thinking.close(self.turn.reasoning, self.turn.thinking_seconds)
        self.footer.update(footer_text(self.turn))
        self.footer.display = True
        self.set_class(self.turn.state in _ENDINGS, "-cut-off")


def footer_text(turn: Turn) -> str:
    """Like `stopped · 120 tokens · 41.3 tok/s · 3.40 tok/pass`."""
    parts = [_ENDINGS[turn.state]] if turn.state in _ENDINGS else []
    if turn.completion_tokens:
        parts.append(f"{turn.completion_tokens:,} tokens")
    if turn.tokens_per_second:
        parts.append(f"{turn.tokens_per_second:.1f} tok/s")
    if turn.accepted_length:
        parts.append(f"{turn.accepted_length:.2f} tok/pass")
    return " · ".join(parts)
