"""The engine panel: the latest answer by the sources of its tokens, beside the engine's figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from dspark_local.engine_facts import EngineFacts
from dspark_tui.engine_panel_figures import PanelFigures
from dspark_tui.engine_panel_text import answer_text, legend, memory_lines, session_lines, speculation_lines
from dspark_tui.token_sources import TokenSources

_REDRAW_SECONDS = 0.25
_ASK_SECONDS = 1.0
_TAIL = 4000
"""Characters of the answer that are laid out: the end of it, some screens long."""

AskFacts = Callable[[], Awaitable[EngineFacts | None]]


class EnginePanel(Vertical):
    """Lives while it is shown: nothing is drawn or asked for a panel that is closed. `ask` gives the engine's facts."""

    DEFAULT_CSS = """
    EnginePanel { width: 100%; height: 100%; padding: 0 1; background: $surface; border-left: tall $panel; }
    EnginePanel #panel-answer { height: 1fr; scrollbar-size-vertical: 1; }
    EnginePanel #panel-figures { height: auto; max-height: 70%; margin: 1 0 0 0; scrollbar-size-vertical: 1; }
    EnginePanel Static { height: auto; }
    EnginePanel #panel-legend, EnginePanel #panel-figures Static { margin: 0 0 1 0; }
    EnginePanel.-wide { layout: horizontal; border-left: none; border-bottom: tall $panel; }
    EnginePanel.-wide #panel-text { width: 1fr; height: 100%; margin: 0 2 0 0; }
    EnginePanel.-wide #panel-figures Static { margin: 0; }
    EnginePanel.-wide #panel-figures { width: 44; height: 100%; max-height: 100%; margin: 0; }
    """

    def __init__(self, sources: TokenSources, figures: PanelFigures, ask: AskFacts, *, is_ours: bool) -> None:
        super().__init__(id="engine-panel")
        self._sources = sources
        self._figures = figures
        self._ask = ask
        self._is_ours = is_ours
        self._facts: EngineFacts | None = None
        self._drawn: object = None
        self._followed_to = 0
        self.drawings = 0
        """How often it was drawn."""

    def compose(self) -> ComposeResult:
        """Text above or left, figures below or right."""
        with Vertical(id="panel-text"):
            yield Static(id="panel-legend")
            with VerticalScroll(id="panel-answer", can_focus=False):
                yield Static(id="panel-tokens")
        with VerticalScroll(id="panel-figures", can_focus=False):
            yield Static(id="panel-speculation")
            yield Static(id="panel-memory")
            yield Static(id="panel-session")

    def on_mount(self) -> None:
        """Begin to draw and to ask."""
        self.set_interval(_REDRAW_SECONDS, self.draw)
        self.set_interval(_ASK_SECONDS, self._refresh_facts)
        self._refresh_facts()
        self.call_after_refresh(self.draw)

    def on_resize(self) -> None:
        """Bars are as long as there is room."""
        self.draw()

    @work(exclusive=True, group="engine-facts")
    async def _refresh_facts(self) -> None:
        self._facts = await self._ask() or self._facts

    def draw(self) -> None:
        """Bring everything up to date, if anything has changed."""
        self._follow()  # what was drawn last may have been laid out only now
        width = self.query_one("#panel-figures").scrollable_content_region.width
        answer_width = self.query_one("#panel-text").content_size.width
        state = (self._sources.revision, self._facts, self._figures.answers, width, answer_width)
        if state == self._drawn or not width:
            return
        self._drawn = state
        self.drawings += 1
        figures, sources = self._figures, self._sources
        is_answered = bool(figures.answer.passes) or figures.answer.is_over
        for name, content in (
            (
                "legend",
                legend(sources, answer_width, is_answered=is_answered),
            ),
            ("tokens", answer_text(sources, _TAIL)),
            ("speculation", speculation_lines(figures, width)),
            ("memory", memory_lines(self._facts, width, is_ours=self._is_ours)),
            ("session", session_lines(figures, self._facts)),
        ):
            self.query_one(f"#panel-{name}", Static).update(content)
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        """Keep the end of the answer in view, unless somebody has scrolled up to read."""
        answer = self.query_one("#panel-answer")
        self._followed_to = min(self._followed_to, answer.max_scroll_y)  # a new answer is shorter
        if answer.scroll_y >= self._followed_to:
            answer.scroll_end(animate=False, immediate=True)
            self._followed_to = answer.max_scroll_y
