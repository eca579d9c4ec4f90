"""The themes in a palette: the highlighted one is shown at once, Esc brings the one before back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual import on
from textual.command import Command, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.widgets import OptionList


class ThemesProvider(Provider):
    """All themes, the present one first."""

    def _commands(self) -> list[tuple[str, Callable[[], Any]]]:
        names = sorted(self.app.available_themes, key=lambda name: (name != self.app.theme, name))
        return [(name, partial(self.app.run_action, f"keep_theme({name!r})")) for name in names]

    async def discover(self) -> Hits:
        """All of them."""
        for name, keep in self._commands():
            yield DiscoveryHit(name, keep)

    async def search(self, query: str) -> Hits:
        """Those whose names fit."""
        matcher = self.matcher(query)
        for name, keep in self._commands():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), keep, text=name)


class ThemePalette(CommandPalette):
    """Chooses a theme by looking at it."""

    def __init__(self) -> None:
        super().__init__([ThemesProvider], placeholder="Themes: arrows show, Enter keeps, Esc leaves")

    @on(OptionList.OptionHighlighted)
    def _preview(self, event: OptionList.OptionHighlighted) -> None:
        if isinstance(event.option, Command) and (name := event.option.hit.text) in self.app.available_themes:
            self.app.theme = str(name)
