"""The Textual application: theme, style sheet, palette, the one screen."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen

from dspark_tui.actions import bindings
from dspark_tui.chat_screen import ChatScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import EngineLink
from dspark_tui.palette import ThemePalette
from dspark_tui.readable import readable_variables
from dspark_tui.store import ConversationStore

_LIGHT_BACKGROUNDS = ("7", "15")
"""The light grey and the white of a terminal's sixteen colours, as COLORFGBG numbers them."""


class ChatApp(App[None], inherit_bindings=False):
    """A chat over `link`; conversations go to `store`."""

    TITLE = "dspark-local"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(of_app=True),
        Binding("ctrl+c", "help_quit", show=False, system=True),
    ]

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__()
        self._link = link
        self._settings = settings
        self._store = store
        self.theme = terminal_theme()

    def get_default_screen(self) -> ChatScreen:
        """The chat."""
        return ChatScreen(self._link, self._settings, self._store)

    @property
    def chat(self) -> ChatScreen:
        """The screen under all others."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen), "the chat is the first screen"
        return screen

    def get_css_variables(self) -> dict[str, str]:
        """The theme's colours, with those that stand for words made readable."""
        self.theme_variables = readable_variables(super().get_css_variables(), dark=self.current_theme.dark)
        return self.theme_variables

    def refresh_css(self, animate: bool = True) -> None:
        """Textual leaves out a palette that is on top, so that it would keep the colours of the theme before."""
        super().refresh_css(animate=animate)
        if self.screen_stack and self.screen not in self.children:
            self.stylesheet.update(self.screen, animate=animate)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the chat can do now; elsewhere what the whole program can."""
        for action in self.chat.offered():
            if action.id != "palette" and (screen is self.chat or action.call.startswith("app.")):
                run = partial(self.run_action, action.call, screen)
                yield SystemCommand(action.title, self.chat.how_to_reach(action), run)

    def action_change_theme(self) -> None:
        """Choose a theme by looking at it."""
        self.push_screen(ThemePalette())

    def action_keep_theme(self, name: str) -> None:
        """Take a theme for good."""
        self.chat.keep_theme(name)

    def on_command_palette_closed(self, event: CommandPalette.Closed) -> None:
        """A theme that was only looked at goes again."""
        if not event.option_selected:
            self.theme = self.chat.kept_theme


def terminal_theme() -> str:
    """Dark, unless the terminal says that its background is light."""
    is_light = os.environ.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_BACKGROUNDS
    return "textual-light" if is_light else "textual-dark"
