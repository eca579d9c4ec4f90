"""The Textual application: theme, style sheet, the one screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App

from dspark_tui.chat_screen import ChatScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import EngineLink
from dspark_tui.store import ConversationStore


class ChatApp(App[None]):
    """A chat over `link`; conversations go to `store`."""

    TITLE = "dspark-local"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__()
        self._link = link
        self._settings = settings
        self._store = store

    def get_default_screen(self) -> ChatScreen:
        """The chat."""
        return ChatScreen(self._link, self._settings, self._store)
