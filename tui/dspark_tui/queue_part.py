"""The part of the chat that takes prompts while none can be sent, sends them in order, and loses no typed words."""

from __future__ import annotations

import sqlite3

from dspark_local.errors import DsparkError
from dspark_tui.attachments_part import AttachmentsPart
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.engine_link import EngineLink
from dspark_tui.store import ConversationStore
from dspark_tui.unsent import Prompt, Unsent, keep_unsent, take_unsent
from dspark_tui.widgets.queued_prompts import QueuedLine, QueuedPrompts
from dspark_tui.widgets.welcome import Question, Welcome

_TICK_SECONDS = 0.2
_KEEP_SECONDS = 1.0
_HINT_SECONDS = 4.0
_REFUSALS = (OSError, sqlite3.Error, DsparkError, ValueError, KeyError, TypeError)


class QueuePart(AttachmentsPart):
    """`queue` belongs to the conversation that is open; what is paused waits for the person."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self.queue: list[Prompt] = []
        self.is_paused = False
        self._queued = QueuedPrompts()
        self._kept_unsent = Unsent()
        self.entered.append(self._change_conversation)
        self.ended.append(self._note_end)

    async def on_mount(self) -> None:
        """Take the place above the box; bring back what was not sent when the program ended."""
        await self._above_box.mount(self._queued)
        # Not in the timer's own task: nothing of the queue is ever done twice at once.
        self.set_interval(_TICK_SECONDS, lambda: self.call_later(self._send_next))
        self.set_interval(_KEEP_SECONDS, self._keep)
        if not self.conversation.tree:
            self._bring_back(None)
        self._show_queue()

    async def on_unmount(self) -> None:
        """The last moment to keep what was not sent."""
        self._keep()

    # ---- asking

    async def on_composer_submitted(self, message: object) -> None:
        """Send what is in the box, queue it while that cannot be, or say why neither is possible."""
        if not self._composer.text.strip():
            await self._submit_nothing()
        elif self.can_ask:
            await self.submit()
        elif (self.is_answering or self._loading) and self._editing.turn is None:
            await self._enqueue_box()
        else:
            self.may_ask()

    async def _submit_nothing(self) -> None:
        if self.queue and self.is_paused:
            self.is_paused = False
            self._show_queue()
            await self._send_next()
        elif self.files:
            self.hint("Write what to do with the file, then Enter.")
        else:
            self.hint("Nothing to send yet: write a question first.")

    async def on_question_asked(self, message: Question.Asked) -> None:
        """Send an example question."""
        self._composer.focus()
        await self._ask(Prompt(message.text))

    async def action_ask_example(self, number: int) -> None:
        """Send an example question by its key."""
        for welcome in self.query(Welcome):
            await self._ask(Prompt(welcome.questions[number]))

    async def _ask(self, prompt: Prompt) -> None:
        if self._loading:
            await self._enqueue(prompt)
        elif self.may_ask():
            await self.answer_turn(self.conversation.begin(prompt.text, prompt.files))

    # ---- the queue

    async def _enqueue_box(self) -> None:
        files = self.files_to_send()
        if files is None:
            return
        prompt = Prompt(self._composer.take(), files)
        self.files = []
        await self._show_chips()
        await self._enqueue(prompt)

    async def _enqueue(self, prompt: Prompt) -> None:
        self.queue.append(prompt)
        if self.is_paused:
            self.hint("Queued behind the others, which wait: Enter in the empty box sends them on.", _HINT_SECONDS)
        elif self.is_answering:
            self.hint("Queued: it is sent when this answer has ended. Esc stops the answer.", _HINT_SECONDS)
        else:
            self.hint("Queued: the model is still loading; it is sent when it can answer.", _HINT_SECONDS)
        self._keep()
        self._show_queue()

    async def _send_next(self) -> None:
        if self.queue and not self.is_paused and self.info is None and not self._loading:
            self.pause()  # the model could not be loaded, or the engine has gone
        if not self.queue or self.is_paused or not self.can_ask or self._editing.turn is not None:
            return
        prompt = self.queue.pop(0)
        await self.answer_turn(self.conversation.begin(prompt.text, prompt.files))
        self._keep()
        self._show_queue()

    def pause(self) -> None:
        """Send nothing until the person says so."""
        self.is_paused = True
        self._show_queue()

    def _note_end(self, turn: Turn, by_itself: bool) -> None:
        if not by_itself and self.queue:
            self.is_paused = True
            self._show_queue()
        elif by_itself:
            self.call_later(self._send_next)

    async def on_queued_line_taken(self, message: QueuedLine.Taken) -> None:
        """A waiting prompt goes back to the box, or away."""
        await self._take_from_queue(message.prompt, to_box=message.is_edited)

    async def _take_from_queue(self, prompt: Prompt, *, to_box: bool) -> None:
        kept = [one for one in self.queue if one is not prompt]
        if len(kept) == len(self.queue):  # it has been sent meanwhile
            return
        self.queue = kept
        if to_box:
            self._composer.give_back(prompt.text)
            self.files = [*prompt.files, *self.files]
            await self._show_chips()
        self.is_paused = self.is_paused and bool(self.queue)
        self._composer.focus()
        self._keep()
        self._show_queue()

    def action_edit(self, step: int) -> None:
        """Up from the box are first the prompts that wait, then those that were sent."""
        if step < 0 and self.queue and self._editing.turn is None:
            self.call_later(self._take_from_queue, self.queue[-1], to_box=True)
        else:
            super().action_edit(step)

    def action_clear_queue(self) -> None:
        """Forget every prompt that waits."""
        count, self.queue, self.is_paused = len(self.queue), [], False
        self.hint(f"{count:,} queued prompts removed." if count != 1 else "1 queued prompt removed.")
        self._keep()
        self._show_queue()

    def _show_queue(self) -> None:
        if self._queued.is_attached:  # not before the screen is there
            self._queued.show(self.queue, is_paused=self.is_paused)

    # ---- keeping what was not sent

    def _keep(self) -> None:
        """Write draft and queue when they have changed."""
        if self._editing.turn is not None:  # the box holds a sent prompt; the draft waits in memory
            return
        unsent = Unsent(Prompt(self._composer.text, tuple(self.files)), tuple(self.queue))
        if unsent != self._kept_unsent:
            self._write(self.conversation, unsent)
            self._kept_unsent = unsent

    def _write(self, conversation: Conversation, unsent: Unsent) -> None:
        try:
            keep_unsent(self._store, conversation.id, unsent, is_new=not conversation.tree)
        except _REFUSALS as error:  # said once by the conversation itself, which the disk refuses too
            self.log.warning(f"unsent words are not kept: {error}")

    def _change_conversation(self, left: Conversation, entered: Conversation) -> None:
        """The queue of what was left stays there; the draft goes along."""
        if left.tree:
            self._write(left, Unsent(queue=tuple(self.queue)))
            if self.queue:
                self.hint("The queue stays with that conversation.", _HINT_SECONDS)
            self.queue = []
        else:
            self._write(left, Unsent())
        self._kept_unsent = Unsent()
        if entered.tree:
            self._bring_back(entered.id)
        self._show_queue()

    def _bring_back(self, conversation_id: str | None) -> None:
        try:
            unsent = take_unsent(self._store, conversation_id)
        except _REFUSALS as error:
            self.log.warning(f"unsent words cannot be read: {error}")
            return
        self.queue = [*unsent.queue, *self.queue]
        self.is_paused = bool(self.queue)
        if not self._composer.text.strip() and unsent.draft.text.strip():
            self._composer.give_back(unsent.draft.text)
        if not self.files and unsent.draft.files:
            self.files = list(unsent.draft.files)
            self.call_later(self._show_chips)
        if not unsent.is_empty:
            self.hint("What you had not sent is back.", _HINT_SECONDS)
            self._keep()
