"""The page of `dspark-local plan` for one model, to scroll."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from dspark_local.errors import DsparkError
from dspark_tui.model_commands import run_text

_COLUMNS = 94


class PlanScreen(ModalScreen[None]):
    """Esc, Space and q close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,space,q,f5", "leave", "Back", priority=True)]
    DEFAULT_CSS = """
    PlanScreen { align: center middle; }
    PlanScreen > VerticalScroll { width: 98; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; }
    PlanScreen > VerticalScroll { border: round $border; background: $surface; }
    PlanScreen Static { height: auto; }
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._page = Static("Planning …", markup=False)

    def compose(self) -> ComposeResult:
        """One scrollable page."""
        with VerticalScroll() as box:
            box.border_title = f"Plan: {self._model}"
            box.border_subtitle = "arrows scroll, Esc closes"
            yield self._page

    def on_mount(self) -> None:
        """Ask for the page."""
        self._read(min(_COLUMNS, max(self.size.width - 6, 40)))

    @work
    async def _read(self, columns: int) -> None:
        try:
            self._page.update((await run_text("plan", self._model, columns=columns)).rstrip())
        except DsparkError as error:
            self._page.update(str(error))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss()
