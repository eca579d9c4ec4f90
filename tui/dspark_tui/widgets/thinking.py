"""The model's reasoning: a dim block above the answer, open while it thinks, folded once it has thought."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

# While it streams only the newest part is drawn, because each draw lays out the whole text again.
_LIVE_TAIL_CHARS = 1200


class ThinkingHeader(Static, can_focus=True):
    """The one line that folds and unfolds; by click, Enter or space."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "fold", "Fold or unfold", show=False)]

    def on_click(self) -> None:
        """Fold or unfold."""
        self.action_fold()

    def action_fold(self) -> None:
        """Fold or unfold."""
        block = self.parent
        assert isinstance(block, ThinkingBlock)
        block.set_open(not block.is_open)


class ThinkingBlock(Vertical):
    """Hidden until the first reasoning arrives; is_live until it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True
        self._text = ""
        self._label = "Thinking"
        self.is_live = True
        self._header = ThinkingHeader(markup=False)
        self._body = Static(classes="reasoning", markup=False)
        self.display = False

    def compose(self) -> ComposeResult:
        """The header above the reasoning."""
        yield self._header
        yield self._body

    def show(self, text: str, seconds: float) -> None:
        """Show the reasoning so far; call a few times a second."""
        self.display = True
        self._text = text
        self._label = f"Thinking {seconds:.0f} s"
        self._draw()

    def close(self, text: str, seconds: float | None) -> None:
        """The reasoning is complete: fold it under its duration. Later calls leave it as the person has it."""
        if not self.is_live:
            return
        self.display = bool(text)
        self._text = text
        self._label = "Thought" if seconds is None else f"Thought for {max(seconds, 1):.0f} s"
        self.is_live = False
        self.set_open(False)

    def set_open(self, is_open: bool) -> None:
        """Fold or unfold."""
        self.is_open = is_open
        self._draw()

    def _draw(self) -> None:
        self._header.update(f"{'▾' if self.is_open else '▸'} {self._label}")
        self._body.display = self.is_open
        if self.is_open:
            self._body.update(self._text[-_LIVE_TAIL_CHARS:] if self.is_live else self._text)
