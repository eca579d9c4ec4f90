"""The chat: turns what the person does into calls on the conversation and the engine, and shows what comes back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.request import ChatRequest, SamplingSettings
from dspark_tui.answering import Answering
from dspark_tui.conversation import Conversation
from dspark_tui.engine_link import EngineLink
from dspark_tui.help_screen import HelpScreen
from dspark_tui.meter import LiveMeter
from dspark_tui.status import loading_label, phase_label, status_line, unsaved_text
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.messages import AssistantMessage, UserMessage
from dspark_tui.widgets.notice import EngineNotice, ErrorNotice, UnsavedNotice
from dspark_tui.widgets.welcome import QUESTION_KEYS, Question, Welcome

_TICK_SECONDS = 0.2
_LIVENESS_SECONDS = 1.0
_HINT_SECONDS = 2.5
_QUIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How to ask. temperature None takes the model's recommendation."""

    thinking: bool = False
    temperature: float | None = None


class ChatScreen(Screen[None]):
    """One conversation at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", priority=True),
        Binding("ctrl+c", "interrupt", "Stop or quit", priority=True),
        Binding("ctrl+n", "new_conversation", "New", priority=True),
        Binding("ctrl+t", "toggle_thinking", "Thinking", priority=True),
        Binding("ctrl+y", "copy_answer", "Copy", priority=True),
        Binding("f1", "help", "Help", priority=True),
        *(Binding(key, f"ask_example({number})", show=False) for number, key in enumerate(QUESTION_KEYS)),
        Binding("pageup", "scroll_messages(-1)", show=False, priority=True),
        Binding("pagedown", "scroll_messages(1)", show=False, priority=True),
    ]

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__()
        self._link = link
        self._settings = settings
        self._store = store
        self.conversation = Conversation()
        self.meter = LiveMeter()
        self.thinking = settings.thinking
        self.info: ModelInfo | None = None
        self._loading = "Starting the engine"
        self._answering: Answering | None = None
        self._worker: Worker[None] | None = None
        self.last_hint = ""
        self._hint_until = 0.0
        self._quit_until = 0.0
        self._told_problem = ""
        # Held here, because timers and workers may still run while the screen is being taken down.
        self._messages = VerticalScroll(id="messages", can_focus=False)
        self._phase = Static(id="phase", markup=False)
        self._composer = Composer()
        self._status = Static(id="status", markup=False)

    def compose(self) -> ComposeResult:
        """List, phase, box, status."""
        with self._messages:
            yield Welcome(None)
        yield self._phase
        yield self._composer
        yield self._status

    def on_mount(self) -> None:
        """Connect while the person may already write."""
        self._messages.anchor()
        self._composer.focus()
        self.set_interval(_TICK_SECONDS, self._tick)
        self.set_interval(_LIVENESS_SECONDS, self._check_engine)
        self._connect()

    async def on_unmount(self) -> None:
        """Close connections, which stops an answer under way on the server too."""
        await self._link.disconnect()

    # ---- engine

    @work(exclusive=True, group="engine")
    async def _connect(self) -> None:
        self.info = None
        self._loading = "Starting the engine"
        try:
            info = await self._link.connect(self._note_loading)
        except DsparkError as error:
            self._loading = ""
            await self._show_engine_notice(str(error))
            return
        self._loading = ""
        self.info = info
        self.conversation.model = info.id
        if welcome := self.query(Welcome):
            await welcome.remove()
            await self._messages.mount(Welcome(info))
        self._tick()

    def _note_loading(self, progress: LoadProgress) -> None:
        self._loading = loading_label(progress)

    async def _check_engine(self) -> None:
        if self._answering is None:
            self._store.retry()
            if self.info is not None and (notice := self._link.death_notice()) is not None:
                await self._show_engine_notice(notice)
        await self._tell_of_the_disk()

    async def _tell_of_the_disk(self) -> None:
        """Say once that the disk refuses; the status line goes on saying so until it takes everything again."""
        told, self._told_problem = self._told_problem, self._store.problem
        if self._store.problem == told:
            return
        await self.query(UnsavedNotice).remove()
        if self._store.problem:
            await self._messages.mount(UnsavedNotice(unsaved_text(self._store.problem, self._store.folder)))
            self._messages.anchor()
        else:
            self.hint("Everything said is on disk now.")

    async def _show_engine_notice(self, text: str) -> None:
        self.info = None
        await self.query(EngineNotice).remove()
        notice = EngineNotice(text)
        await self._messages.mount(notice)
        self._messages.anchor()
        if not self._composer.text:  # keys of somebody who is writing belong to the box
            notice.focus()
        self._tick()

    async def on_engine_notice_restart(self) -> None:
        """Start the engine again; the conversation goes on where it was."""
        await self.query(EngineNotice).remove()
        self._composer.focus()
        self._connect()

    # ---- asking

    async def on_composer_submitted(self, message: Composer.Submitted) -> None:
        """Send what is in the box, if it can be sent now; otherwise say why and leave it there."""
        if not message.text.strip():
            self.hint("Nothing to send yet: write a question first.")
        elif self._may_ask():
            await self._ask(self._composer.take())

    async def on_question_asked(self, message: Question.Asked) -> None:
        """Send an example question."""
        if self._may_ask():
            self._composer.focus()
            await self._ask(message.text)

    async def action_ask_example(self, number: int) -> None:
        """Send an example question by its key."""
        for welcome in self.query(Welcome):
            if self._may_ask():
                await self._ask(welcome.questions[number])

    def _may_ask(self) -> bool:
        if self._answering is not None:
            self.hint("Still answering: Esc stops it, then send this.")
        elif self._loading:
            self.hint("The model is still loading; your text stays in the box.")
        elif self.info is None:
            self.hint("There is no engine: press r in the message above to try again.")
            self.query(EngineNotice).first().focus()
        else:
            return True
        return False

    async def _ask(self, prompt: str) -> None:
        assert self.info is not None
        await self.query("Welcome, ErrorNotice").remove()
        self.conversation.model = self.info.id
        turn = self.conversation.begin(prompt)
        view = AssistantMessage(turn)
        await self._messages.mount(UserMessage(prompt), view)
        self._messages.anchor()
        self._answering = Answering(self.conversation, view, self.meter, self._store)
        self._worker = self._answer(self._answering, self._request(self.info))

    def _request(self, info: ModelInfo) -> ChatRequest:
        given = self._settings.temperature
        return ChatRequest(
            self.conversation.messages(),
            SamplingSettings(
                temperature=info.recommended_temperature if given is None else given, top_p=info.recommended_top_p
            ),
            thinking="thinking" if self.thinking else "chat",
            conversation_id=self.conversation.id,
        )

    @work(exclusive=True, group="answer")
    async def _answer(self, answering: Answering, request: ChatRequest) -> None:
        client = self._link.client
        assert client is not None
        failure = await answering.run(client, request)
        if failure is not None:
            await self._show_failure(answering, failure)

    async def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """An answer has ended, whole, stopped or failed."""
        over = event.state in (WorkerState.SUCCESS, WorkerState.CANCELLED, WorkerState.ERROR)
        if event.worker is self._worker and over and self._answering is not None:
            view, self._answering, self._worker = self._answering.view, None, None
            if view.is_attached:  # a turn that was withdrawn has no view any more
                await view.finish()
            self._tick()

    async def _show_failure(self, answering: Answering, failure: DsparkError) -> None:
        turn = answering.turn
        if turn.is_empty:  # nothing to keep of the answer: the prompt goes back where it can be mended
            self.conversation.withdraw(turn)
            answering.save()
            await self._remove_turn_view(answering.view)
            self._composer.give_back(turn.prompt)
        if isinstance(failure, EngineUnavailableError) or failure.code == EngineUnavailableError.code:
            await self._show_engine_notice(await self._what_happened(failure))
        else:
            await self._messages.mount(ErrorNotice(str(failure)))
            self._messages.anchor()

    async def _what_happened(self, failure: DsparkError) -> str:
        """A process that dies closes its connections a moment before its end can be seen."""
        for _ in range(20):
            if (notice := self._link.death_notice()) is not None:
                return notice
            await asyncio.sleep(0.05)
        return str(failure)

    async def _remove_turn_view(self, view: AssistantMessage) -> None:
        prompts = self._messages.query(UserMessage)
        if prompts:
            await prompts.last().remove()
        await view.remove()

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
        """Stop the answer; without one, return to the box."""
        if self._worker is not None:
            self._worker.cancel()
        else:
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

    async def action_new_conversation(self) -> None:
        """Begin anew; what was said stays on disk."""
        if self._worker is not None:
            self.hint("Still answering: Esc stops it, then Ctrl+N.")
            return
        self.conversation = Conversation(model=self.info.id if self.info is not None else "")
        self.meter = LiveMeter()
        await self._messages.query("#messages > *").exclude("EngineNotice").remove()
        await self._messages.mount(Welcome(self.info), before=0)
        self._composer.focus()
        self._tick()

    def action_toggle_thinking(self) -> None:
        """Think, or not, from the next answer on."""
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

    def hint(self, text: str, seconds: float = _HINT_SECONDS) -> None:
        """Say something for a moment, in the line above the box."""
        self.last_hint = text
        self._hint_until = time.monotonic() + seconds
        self._tick()

    def _tick(self) -> None:
        if not self.is_attached:
            return
        shows_hint = time.monotonic() < self._hint_until
        self._phase.set_class(shows_hint, "-hint")
        self._phase.update(self.last_hint if shows_hint else self._loading or phase_label(self.meter))
        width = max(self.size.width - 4, 10)
        unsaved = bool(self._store.problem)
        self._status.update(status_line(self.info, self.meter, thinking=self.thinking, width=width, unsaved=unsaved))
        if self._answering is not None:
            self._show_thinking(self._answering)

    def _show_thinking(self, answering: Answering) -> None:
        turn, block = answering.turn, answering.view.thinking
        if not block.is_attached or not turn.reasoning:
            return
        if self.meter.phase == "thinking":
            block.show(turn.reasoning, self.meter.phase_seconds)
        elif block.is_live:
            block.close(turn.reasoning, self.meter.thinking_seconds)
