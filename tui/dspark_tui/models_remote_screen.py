"""What a server that somebody else runs offers, to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from dspark_local.backend import ModelInfo
from dspark_local.sizes import format_tokens


class RemoteModelsScreen(ModalScreen[str | None]):
    """Gives the id of the model to ask from now on, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f5", "leave", "Back", priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    RemoteModelsScreen { align: center middle; }
    RemoteModelsScreen > Vertical { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; }
    RemoteModelsScreen > Vertical { border: round $border; background: $surface; }
    RemoteModelsScreen OptionList { height: auto; max-height: 16; border: none; padding: 0; background: $surface; }
    RemoteModelsScreen Static { height: auto; color: $text-muted; }
    """

    def __init__(self, models: Sequence[ModelInfo], in_use: str) -> None:
        super().__init__()
        self._models = models
        self._in_use = in_use
        self._search = Input(placeholder="Search", compact=True)
        self._list = OptionList(compact=True, markup=False)
        self._list.can_focus = False

    def compose(self) -> ComposeResult:
        """Search over the list."""
        with Vertical() as box:
            box.border_title = "Models of this server"
            yield self._search
            yield self._list
            yield Static(
                "Enter asks it from now on, Esc goes back. Loading and fetching are the server's.", markup=False
            )

    def on_mount(self) -> None:
        """Everything first, the one in use highlighted."""
        self._search.focus()
        self._fill()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow."""
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose."""
        event.stop()
        at = self._list.highlighted
        if at is not None:
            self.dismiss(self._list.get_option_at_index(at).id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose by a click."""
        self.dismiss(event.option_id)

    def action_move(self, step: int) -> None:
        """Move in the list while the search keeps the keys."""
        if step < 0:
            self._list.action_cursor_up()
        else:
            self._list.action_cursor_down()

    def action_leave(self) -> None:
        """Keep what is in use."""
        self.dismiss(None)

    def _fill(self) -> None:
        words = self._search.value.casefold().split()
        found = [model for model in self._models if all(word in model.id.casefold() for word in words)]
        self._list.clear_options()
        self._list.add_options(Option(self._line(model), id=model.id) for model in found)
        ids = [model.id for model in found]
        if ids:
            self._list.highlighted = ids.index(self._in_use) if self._in_use in ids else 0

    def _line(self, model: ModelInfo) -> str:
        context = f"  context {format_tokens(model.context_length)}" if model.context_length else ""
        return f"{'●' if model.id == self._in_use else ' '} {model.id}{context}"
