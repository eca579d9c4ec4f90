"""The chat: turns what the person does into calls on the conversation and the engine, and shows what comes back."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from dspark_local.backend import ModelInfo
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.editing import Editing
from dspark_tui.engine_link import EngineLink
from dspark_tui.help_screen import HelpScreen
from dspark_tui.meter import LiveMeter
from dspark_tui.sessions_screen import SessionsScreen
from dspark_tui.store import ConversationStore
from dspark_tui.store_search import count, latest
from dspark_tui.widgets.notice import ErrorNotice
from dspark_tui.widgets.turn_view import VersionMarker
from dspark_tui.widgets.welcome import QUESTION_KEYS, Question, Welcome

_TICK_SECONDS = 0.2
_QUIT_SECONDS = 2.0
_LONG_HINT_SECONDS = 6.0


class ChatScreen(AskingScreen):
    """One conversation at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", priority=True),
        Binding("ctrl+c", "interrupt", "Stop or quit", priority=True),
        Binding("ctrl+n", "new_conversation", "New", priority=True),
        Binding("ctrl+o", "conversations", "Conversations", priority=True),
        Binding("ctrl+r", "regenerate", "Answer again", priority=True),
        Binding("alt+up,f6", "edit(-1)", "Edit", priority=True),
        Binding("alt+down", "edit(1)", show=False, priority=True),
        Binding("alt+left,f7", "version(-1)", "Version before", priority=True),
        Binding("alt+right,f8", "version(1)", "Version after", priority=True),
        Binding("ctrl+t", "toggle_thinking", "Thinking", priority=True),
        Binding("ctrl+y", "copy_answer", "Copy", priority=True),
        Binding("f1", "help", "Help", priority=True),
        *(Binding(key, f"ask_example({number})", show=False) for number, key in enumerate(QUESTION_KEYS)),
        Binding("pageup", "scroll_messages(-1)", show=False, priority=True),
        Binding("pagedown", "scroll_messages(1)", show=False, priority=True),
    ]

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._quit_until = 0.0
        self._editing = Editing(self._composer)

    def compose(self) -> ComposeResult:
        """List, phase, box, status."""
        with self._messages:
            yield Welcome(None)
        yield self._phase
        yield self._composer
        yield self._status

    async def on_mount(self) -> None:
        """Connect while the person may already write."""
        self._messages.anchor()
        self._composer.focus()
        self.set_interval(_TICK_SECONDS, self.draw)
        self.watch_engine()
        self._count_kept()
        if unreadable := self._store.unreadable:
            self.hint(f"{len(unreadable)} older files could not be read, {unreadable[0]} first.", _LONG_HINT_SECONDS)
        if self._settings.resume and (newest := latest(self._store)) is not None:
            await self._open(newest)

    async def engine_ready(self, info: ModelInfo) -> None:
        """Welcome the person with what this engine is."""
        self.conversation.model = info.id
        if welcome := self.query(Welcome):
            await welcome.remove()
            await self._messages.mount(Welcome(info))

    # ---- asking

    async def on_composer_submitted(self, message: object) -> None:
        """Send what is in the box, if it can be sent now; otherwise say why and leave it there."""
        if not self._composer.text.strip():
            self.hint("Nothing to send yet: write a question first.")
        elif self.may_ask():
            edited, prompt = self._editing.take()
            if edited is not None and edited in self.conversation.turns:
                await self.answer_turn(self.conversation.edit(edited, prompt))
            else:
                await self.answer_turn(self.conversation.begin(prompt))

    async def on_question_asked(self, message: Question.Asked) -> None:
        """Send an example question."""
        if self.may_ask():
            self._composer.focus()
            await self.answer_turn(self.conversation.begin(message.text))

    async def action_ask_example(self, number: int) -> None:
        """Send an example question by its key."""
        for welcome in self.query(Welcome):
            if self.may_ask():
                await self.answer_turn(self.conversation.begin(welcome.questions[number]))

    async def action_regenerate(self) -> None:
        """Ask for another answer to the last prompt; the one that is there stays as a version."""
        if not self.conversation.turns:
            self.hint("There is nothing to answer again yet.")
        elif self.may_ask():
            await self.answer_turn(self.conversation.regenerate(self.conversation.turns[-1]))

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
            self.app.copy_to_clipboard(selected)
            self.hint("Copied.")
        elif self._worker is not None:
            self._worker.cancel()
        elif time.monotonic() < self._quit_until:
            self.app.exit()
        else:
            self._quit_until = time.monotonic() + _QUIT_SECONDS
            self.hint("Press Ctrl+C again to quit.", _QUIT_SECONDS)

    def action_edit(self, step: int) -> None:
        """Put an own prompt into the box: the last one, then the ones before."""
        if self._answering is not None:
            self.hint("Still answering: Esc stops it, then edit.")
        elif not self._editing.step(self.conversation, step):
            self.hint(
                "There is no other message of yours there." if self.conversation.turns else "Nothing to edit yet."
            )

    async def action_version(self, step: int) -> None:
        """Show the neighbour of the last turn that has several versions."""
        for turn in reversed(self.conversation.turns):
            if len(self.conversation.versions(turn)) > 1:
                await self._show_version(turn, step)
                return
        self.hint("There is one version of everything: Alt+Up edits, Ctrl+R answers again.")

    async def on_version_marker_stepped(self, message: VersionMarker.Stepped) -> None:
        """Show the neighbour of this turn."""
        await self._show_version(message.turn, message.step)

    async def _show_version(self, turn: Turn, step: int) -> None:
        versions = self.conversation.versions(turn)
        at = versions.index(turn) + step
        if self._answering is not None:
            self.hint("Still answering: Esc stops it, then switch.")
        elif not 0 <= at < len(versions):
            self.hint(f"This is the {'first' if step < 0 else 'last'} of {len(versions)} versions.")
        else:
            by_marker = isinstance(self.focused, VersionMarker)
            self._editing.leave()
            self.conversation.select(versions[at])
            self._store.keep(self.conversation)
            await self.query(ErrorNotice).remove()
            await self._messages.show(self.conversation)
            view = self._messages.view_of(versions[at])
            if by_marker and view is not None and view.marker is not None:
                view.marker.focus()

    async def action_new_conversation(self) -> None:
        """Begin anew; what was said stays on disk."""
        if self._worker is not None:
            self.hint("Still answering: Esc stops it, then Ctrl+N.")
            return
        await self._enter(Conversation(model=self.info.id if self.info is not None else ""))

    async def _enter(self, conversation: Conversation) -> None:
        self._editing.leave()
        self.conversation = conversation
        self.meter = LiveMeter()
        await self.query("Welcome, ErrorNotice").remove()
        await self._messages.show(conversation)
        if not conversation.turns:
            await self._messages.mount(Welcome(self.info), before=0 if self._messages.children else None)
        self._composer.focus()
        self._count_kept()
        self.draw()

    @work(exclusive=True, group="conversations")
    async def action_conversations(self) -> None:
        """The list; what is chosen there is opened."""
        if self._worker is not None:
            self.hint("Still answering: Esc stops it, then Ctrl+O.")
            return
        open_id = self.conversation.id
        chosen = await self.app.push_screen_wait(SessionsScreen(self._store))
        if chosen is not None and chosen != open_id:
            await self._open(chosen)
        elif self.conversation.turns and not self._store.problem:
            name = self._store.name_of(open_id)
            if name is None:  # it was deleted in the list
                await self.action_new_conversation()
            else:
                self.conversation.name = name
        self._count_kept()

    async def _open(self, conversation_id: str) -> None:
        try:
            conversation = self._store.load(conversation_id)
        except (KeyError, ValueError, sqlite3.Error) as error:
            self.hint(f"It cannot be opened: {error}", _LONG_HINT_SECONDS)
            return
        self.thinking = bool(conversation.settings.get("thinking", self.thinking))
        await self._enter(conversation)
        if conversation.turns[-1].state == "interrupted":
            self.hint("The last answer was cut off; Ctrl+R answers again.", _LONG_HINT_SECONDS)

    def _count_kept(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # only a number in a hint
            self._kept = count(self._store)

    def action_toggle_thinking(self) -> None:
        """For the next answers, not for one under way."""
        self.thinking = not self.thinking
        self.hint(f"Thinking is {'on' if self.thinking else 'off'} from the next answer on.")

    def action_copy_answer(self) -> None:
        """Copy the newest answer, as the Markdown it was written in."""
        if answer := self.conversation.last_answer:
            self.app.copy_to_clipboard(answer)
            self.hint("The last answer is in the clipboard.")
        else:
            self.hint("There is no answer to copy yet.")

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(HelpScreen())

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
