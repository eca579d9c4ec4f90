"""The part of the chat that asks and shows what comes back: one conversation, one answer at a time."""

from __future__ import annotations

from collections.abc import Callable

from textual import work
from textual.worker import Worker, WorkerState

from dspark_local.answer_stream import ClientEvent
from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.request import ChatRequest
from dspark_tui.answering import Answering
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation, Turn, TurnState
from dspark_tui.engine_link import EngineLink
from dspark_tui.engine_screen import EngineScreen
from dspark_tui.meter import LiveMeter
from dspark_tui.presets import preset_of, sampling_of
from dspark_tui.status import phase_label, status_line
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.messages import AssistantMessage
from dspark_tui.widgets.notice import EngineNotice, ErrorNotice

_IDLE_KEYS = (
    ("help", "all keys"),
    ("conversations", "conversations"),
    ("regenerate", "answer again"),
    ("edit", "edit"),
)
"""Actions worth knowing when nothing runs, the first the last to go where the line is too narrow."""


class AskingScreen(EngineScreen):
    """`conversation` is the truth; the list mirrors its visible path."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, store)
        self._settings = settings
        self._conversation = Conversation()
        self.entered: list[Callable[[Conversation, Conversation], None]] = []
        """Each is called with the conversation that was left and the one that is open now."""
        self.ended: list[Callable[[Turn, bool], None]] = []
        """Each is called when an answer has ended, with whether it ended by itself."""
        self.meter = LiveMeter()
        self.observers: list[Callable[[ClientEvent | None], None]] = []
        """Each is called with every event of an answer, and with None when a new one begins."""
        self.thinking = settings.thinking
        self._answering: Answering | None = None
        self._worker: Worker[None] | None = None
        self._is_beginning = False
        self._kept = 0

    @property
    def conversation(self) -> Conversation:
        """The one that is open."""
        return self._conversation

    @conversation.setter
    def conversation(self, conversation: Conversation) -> None:
        left, self._conversation = self._conversation, conversation
        for tell in self.entered:
            tell(left, conversation)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way."""
        return self._answering is not None or self._is_beginning

    def may_ask(self) -> bool:
        """Whether a prompt can be sent now; if not, a hint says why."""
        if self.is_answering:
            self.hint("Still answering: Esc stops it, then send this.")
        elif self._loading:
            self.hint("The model is still loading; your text stays in the box.")
        elif self.info is None:
            self.hint("There is no engine: press r in the message above to try again.")
            self.query(EngineNotice).first().focus()
        else:
            return True
        return False

    @property
    def can_ask(self) -> bool:
        """Whether the engine is there and has nothing else to do for this chat."""
        return not self.is_answering and not self._loading and self.info is not None

    async def answer_turn(self, turn: Turn, state_before: TurnState | None = None) -> None:
        """Send the path to this newest turn, and stream its answer.

        state_before is the state of an answer that goes on, None for a new one.
        """
        assert self.info is not None
        self._is_beginning = True
        try:
            self._phase.forget()
            await self.query("Welcome, ErrorNotice").remove()
            self.conversation.model = self.info.id
            _note_model(turn, self.info.id)
            self.conversation.settings["thinking"] = self.thinking
            view = await self._live_view(turn, is_begun=state_before is not None)
            self._answering = Answering(self.conversation, view, self.meter, self._store, self.observers, state_before)
            self._worker = self._answer(self._answering, self._request(self.info))
        finally:
            self._is_beginning = False

    async def _live_view(self, turn: Turn, *, is_begun: bool) -> AssistantMessage:
        if is_begun:  # its view is that of an answer at rest, and has to go first
            self.conversation.turns.pop()
            await self._messages.show(self.conversation)
            self.conversation.turns.append(turn)
        await self._messages.show(self.conversation)
        view = self._messages.view_of(turn)
        assert view is not None
        assert view.live is not None, "the newest turn is mounted, and waits for its answer"
        return view.live

    def _request(self, info: ModelInfo) -> ChatRequest:
        preset = preset_of(self.conversation.settings)
        begun = self.conversation.turns[-1]
        # An answer goes on in the mode that it began in, whatever holds for the next one.
        thinks = self.thinking if begun.is_empty else bool(begun.reasoning)
        return ChatRequest(
            self.conversation.messages(),
            sampling_of(preset, info, self._settings.temperature),
            thinking="thinking" if thinks else "chat",
            reasoning_effort=preset.reasoning_effort if thinks else None,
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
            by_itself = event.state is WorkerState.SUCCESS and view.turn.state in ("complete", "length")
            for tell in self.ended:  # before anything else can happen
                tell(view.turn, by_itself)
            if view.is_attached:  # a turn that was withdrawn has no view any more
                await view.finish()
            self.draw()

    async def _show_failure(self, answering: Answering, failure: DsparkError) -> None:
        turn = answering.turn
        if turn.is_empty:  # nothing to keep of the answer: the prompt goes back where it can be mended
            self.conversation.withdraw(turn)
            answering.save()
            await self._messages.show(self.conversation)
            if all(other.prompt_id != turn.prompt_id for other in self.conversation.tree):
                self.give_back(turn)
        if isinstance(failure, EngineUnavailableError) or failure.code == EngineUnavailableError.code:
            await self.show_engine_notice(await self.what_happened(failure))
        else:
            await self._messages.mount(ErrorNotice(str(failure)))
            self._messages.anchor()

    def give_back(self, turn: Turn) -> None:
        """Return the prompt of a turn that came to nothing to the box."""
        self._composer.give_back(turn.prompt)

    # ---- showing

    def draw(self) -> None:
        """Bring the lines above and below the box up to date."""
        if not self.is_attached:
            return
        self._phase.show(self._loading or phase_label(self.meter) or self._idle_line())
        width = max(self.size.width - 4, 10)
        unsaved = bool(self._store.problem)
        self._status.update(
            status_line(
                self.info,
                self.meter,
                thinking=self.thinking,
                width=width,
                unsaved=unsaved,
                help_key=self.keys.first("help"),
            )
        )
        box = self._above_box
        if box.size.height and not any(child.display and child.size.height for child in box.children):
            box.refresh(layout=True)  # Textual leaves an empty line where the last child was
        if self._answering is not None:
            self._show_thinking(self._answering)

    def _idle_line(self) -> str:
        if self.conversation.turns:
            cut_off = self.conversation.turns[-1].is_cut_off
            worth_knowing = ((("continue", "go on with the answer"),) if cut_off else ()) + _IDLE_KEYS
            hints = [(id, f"{key} {words}") for id, words in worth_knowing if (key := self.keys.first(id))]
            while len(hints) > 1 and len(" · ".join(text for _, text in hints)) > self.size.width - 4:
                hints.pop()
            hints.sort(key=lambda hint: hint[0] == "help")  # it stands at the end
            return " · ".join(text for _, text in hints)
        return f"{self.keys.first('conversations')} earlier conversations ({self._kept:,})" if self._kept else ""

    def _show_thinking(self, answering: Answering) -> None:
        turn, block = answering.turn, answering.view.thinking
        if not block.is_attached or not turn.reasoning:
            return
        if self.meter.phase == "thinking":
            block.show(turn.reasoning, self.meter.phase_seconds)
        elif block.is_live and turn.answer:
            block.close(turn.reasoning, self.meter.thinking_seconds or turn.thinking_seconds)


def _note_model(turn: Turn, model: str) -> None:
    before = turn.model.split(", ") if turn.model else []
    if before[-1:] != [model]:
        turn.model = ", ".join([*before, model])
