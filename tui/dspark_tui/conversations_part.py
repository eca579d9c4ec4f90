"""The part of the chat that moves between conversations and between versions of what was said in one."""

from __future__ import annotations

import contextlib
import sqlite3

from textual import work

from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.editing import Editing
from dspark_tui.engine_link import EngineLink
from dspark_tui.meter import LiveMeter
from dspark_tui.sessions_screen import SessionsScreen
from dspark_tui.store import ConversationStore
from dspark_tui.store_search import count, latest
from dspark_tui.widgets.notice import ErrorNotice
from dspark_tui.widgets.turn_view import VersionMarker
from dspark_tui.widgets.welcome import Welcome

_LONG_HINT_SECONDS = 6.0


class ConversationsPart(AskingScreen):
    """New, open, edit, answer again, versions."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._editing = Editing(self._composer)

    async def on_mount(self) -> None:
        """Tell of what could not be taken in; open the latest conversation when asked to."""
        self._count_kept()
        if unreadable := self._store.unreadable:
            self.hint(f"{len(unreadable)} older files could not be read, {unreadable[0]} first.", _LONG_HINT_SECONDS)
        if self._settings.resume and (newest := latest(self._store)) is not None:
            await self._open(newest)

    async def submit(self) -> None:
        """Send what is in the box, as a new prompt or as a version of the one being edited."""
        edited, prompt = self._editing.take()
        if edited is not None and edited in self.conversation.turns:
            await self.answer_turn(self.conversation.edit(edited, prompt))
        else:
            await self.answer_turn(self.conversation.begin(prompt))

    async def action_regenerate(self) -> None:
        """Ask for another answer to the last prompt; the one that is there stays as a version."""
        if not self.conversation.turns:
            self.hint("There is nothing to answer again yet.")
        elif self.may_ask():
            await self.answer_turn(self.conversation.regenerate(self.conversation.turns[-1]))

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
        edit, again = self.keys.first("edit"), self.keys.first("regenerate")
        self.hint(f"There is one version of everything: {edit} edits, {again} answers again.")

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
            self.hint(f"Still answering: Esc stops it, then {self.keys.first('new')}.")
            return
        await self._enter(Conversation(model=self.info.id if self.info is not None else ""))

    async def _enter(self, conversation: Conversation) -> None:
        self._editing.leave()
        self.conversation = conversation
        self.meter = LiveMeter()
        await self.query("Welcome, ErrorNotice").remove()
        await self._messages.show(conversation)
        if not conversation.turns:
            await self._messages.mount(Welcome(self.info, self.keys), before=0 if self._messages.children else None)
        self._composer.focus()
        self._count_kept()
        self.draw()

    @work(exclusive=True, group="conversations")
    async def action_conversations(self) -> None:
        """The list; what is chosen there is opened."""
        if self._worker is not None:
            self.hint(f"Still answering: Esc stops it, then {self.keys.first('conversations')}.")
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
        newest = conversation.turns[-1]
        if newest.state == "interrupted":
            way = f"{self.keys.first('regenerate')} answers again."
            if newest.is_cut_off:
                way = f"{self.keys.first('continue')} goes on with it, {way}"
            self.hint(f"The last answer was cut off: {way}", _LONG_HINT_SECONDS)

    def _count_kept(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # only a number in a hint
            self._kept = count(self._store)
