"""The chat's one screen: its parts, where they stand, and the keys that belong to none of them."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from dspark_local.backend import ModelInfo
from dspark_tui.actions import bindings
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.commands_part import CommandsPart
from dspark_tui.continue_part import ContinuePart
from dspark_tui.copy_part import CopyPart
from dspark_tui.engine_link import EngineLink
from dspark_tui.engine_panel_part import EnginePanelPart
from dspark_tui.models_part import ModelsPart
from dspark_tui.presets_part import PresetsPart
from dspark_tui.queue_part import QueuePart
from dspark_tui.recovery_part import RecoveryPart
from dspark_tui.store import ConversationStore
from dspark_tui.title_part import TitlePart
from dspark_tui.widgets.welcome import Welcome

_TICK_SECONDS = 0.2
_QUIT_SECONDS = 2.0


class ChatScreen(
    RecoveryPart, CopyPart, CommandsPart, QueuePart, ContinuePart, PresetsPart, ModelsPart, TitlePart, EnginePanelPart
):
    """One conversation at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._quit_until = 0.0

    def compose(self) -> ComposeResult:
        """The list with the box under it, beside them what is opened at the side, the status under all."""
        with Horizontal(id="body"):
            with Vertical(id="main"):
                with self._messages:
                    yield Welcome(None)
                yield self._phase
                yield self._above_box
                yield self._composer
            yield self._side
        yield self._status

    async def on_mount(self) -> None:
        """Connect while the person may already write."""
        self._messages.anchor()
        self._composer.focus()
        self.set_interval(_TICK_SECONDS, self.draw)
        self.watch_engine()

    async def engine_ready(self, info: ModelInfo) -> None:
        """Welcome the person with what this engine is."""
        self.conversation.model = info.id
        if welcome := self.query(Welcome):
            await welcome.remove()
            if not self.conversation.turns:  # a queued prompt may have been sent meanwhile
                await self._messages.mount(Welcome(info, self.keys))

    # ---- keys

    def on_key(self, event: events.Key) -> None:
        """Type anywhere: what no key of the focused widget takes goes to the box."""
        is_text = event.is_printable and event.character is not None
        if is_text and self.focused is not self._composer and event.key not in self.active_bindings:
            assert event.character is not None
            self._composer.focus()
            self._composer.insert(event.character)
            event.stop()

    def on_paste(self, event: events.Paste) -> None:
        """Paste anywhere."""
        if self.focused is not self._composer:
            self._composer.focus()
            self._composer.insert(event.text)
            event.stop()

    def action_stop(self) -> None:
        """Stop the answer; without one, leave editing and return to the box."""
        if self._worker is not None:
            self._worker.cancel()
        else:
            self._editing.leave()
            self._composer.focus()

    def action_interrupt(self) -> None:
        """Copy a selection, else stop the answer, else quit when pressed twice."""
        selected = self._composer.selected_text or self.get_selected_text()
        if selected:
            self.copy(selected)
        elif self._worker is not None:
            self._worker.cancel()
        elif time.monotonic() < self._quit_until:
            self.app.exit()
        else:
            self._quit_until = time.monotonic() + _QUIT_SECONDS
            self.hint("Press Ctrl+C again to quit.", _QUIT_SECONDS)

    def action_toggle_thinking(self) -> None:
        """For the next answers, not for one under way."""
        self.thinking = not self.thinking
        self.hint(f"Thinking is {'on' if self.thinking else 'off'} from the next answer on.")

    def action_scroll_messages(self, direction: int) -> None:
        """A page up or down, whatever has the focus."""
        if direction < 0:
            self._messages.scroll_page_up()
        else:
            self._messages.scroll_page_down()

    # ---- showing

    @property
    def last_hint(self) -> str:
        """What was said last in the line above the box."""
        return self._phase.last_hint
