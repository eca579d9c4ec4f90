"""The part of the chat that opens and closes the engine panel, and follows every answer for it."""

from __future__ import annotations

from textual import events

from dspark_local.answer_stream import ClientEvent
from dspark_local.engine_facts import EngineFacts
from dspark_local.errors import DsparkError
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import EngineLink
from dspark_tui.engine_panel_figures import PanelFigures
from dspark_tui.store import ConversationStore
from dspark_tui.token_sources import TokenSources
from dspark_tui.widgets.panel_view import EnginePanel

BESIDE_COLUMNS = 110
"""A screen this wide has room for the panel beside the chat; on a smaller one it lies over the messages."""
_WIDEST, _LEAST = 64, 46


class EnginePanelPart(AskingScreen):
    """One key shows and hides it. What has been answered since the chat was opened is there at once."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._sources = TokenSources()
        self._figures = PanelFigures()
        self.observers.append(self._follow)

    @property
    def engine_panel(self) -> EnginePanel | None:
        """The panel, None while it is closed."""
        return next(iter(self._side.query(EnginePanel)), None)

    async def action_engine_panel(self) -> None:
        """Show or hide it; the box keeps the focus."""
        if (panel := self.engine_panel) is not None:
            await panel.remove()
            self._place_side("auto", "auto", is_over=False)
            return
        is_ours = self.info is None or self.info.device != "remote"
        await self._side.mount(EnginePanel(self._sources, self._figures, self._ask_engine, is_ours=is_ours))
        self._lay_out_panel(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        """Beside or over, as the room allows."""
        self._lay_out_panel(event.size.width)

    def _lay_out_panel(self, columns: int) -> None:
        if (panel := self.engine_panel) is None:
            return
        is_over = columns < BESIDE_COLUMNS
        panel.set_class(is_over, "-wide")
        if is_over:  # the box and the line above it stay in reach
            self._place_side("100%", self._messages.outer_size.height, is_over=True)
        else:
            self._place_side(min(max(columns * 2 // 5, _LEAST), _WIDEST), "100%", is_over=False)

    def _place_side(self, width: int | str, height: int | str, *, is_over: bool) -> None:
        self.query_one("#body").set_styles("layers: default over;")
        styles = self._side.styles
        styles.layer, styles.width, styles.height = "over" if is_over else "default", width, height

    def _follow(self, event: ClientEvent | None) -> None:
        if event is None:
            self._sources.begin()
            self._figures.begin()
        else:
            self._sources.take(event)
            self._figures.take(event)

    async def _ask_engine(self) -> EngineFacts | None:
        client = self._link.client
        try:
            return await client.engine_facts() if client is not None else None
        except DsparkError:  # an engine that has gone is told of elsewhere
            return None
