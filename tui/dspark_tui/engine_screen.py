"""The part of the chat that looks after its engine and its disk: connects, notices an end, and says so in the list."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from textual import work
from textual.containers import Vertical
from textual.screen import Screen

from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_tui.engine_link import EngineLink, LocalEngine
from dspark_tui.keymap import keymap
from dspark_tui.launcher import EngineOptions
from dspark_tui.recovery import Offer
from dspark_tui.status import loading_label, unsaved_text
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.message_list import MessageList
from dspark_tui.widgets.notice import EngineNotice, UnsavedNotice
from dspark_tui.widgets.phase_line import OneLine, PhaseLine

_LIVENESS_SECONDS = 1.0


class EngineScreen(Screen[None]):
    """`info` is None while there is no engine to ask; `loading` says so while one is coming."""

    def __init__(self, link: EngineLink, store: ConversationStore) -> None:
        super().__init__()
        self._link = link
        self._store = store
        self.info: ModelInfo | None = None
        self._loading = "Starting the engine"
        self._told_problem = ""
        self.keys = keymap({})
        """The keys in force: hints name these."""
        # Held here, because timers and workers may still run while the screen is being taken down.
        self._messages = MessageList()
        self._phase = PhaseLine()
        self._above_box = Vertical(id="above-box")
        """For what goes with the next prompt or on beside the chat: attachments, queued prompts, downloads."""
        self._composer = Composer()
        self._side = Vertical(id="side")
        """At the right of a wide screen; shows while something is mounted in it."""
        self._status = OneLine("status")

    @property
    @abstractmethod
    def is_answering(self) -> bool:
        """Whether an answer is under way."""

    @abstractmethod
    def ways_out(self, failure: DsparkError | None) -> tuple[Offer, ...]:
        """What to offer besides starting the same engine again; failure says why it is not there, if that is known."""

    @abstractmethod
    async def engine_ready(self, info: ModelInfo) -> None:
        """The engine can be asked from now on."""

    @abstractmethod
    def engine_came(self, info: ModelInfo) -> None:
        """Called after engine_ready, when the list and the box are as they should be."""

    @abstractmethod
    def draw(self) -> None:
        """Bring the lines above and below the box up to date."""

    def hint(self, text: str, seconds: float = 2.5) -> None:
        """Say something for a moment, in the line above the box."""
        self._phase.hint(text, seconds)
        self.draw()

    def watch_engine(self) -> None:
        """Connect, and from then on look once a second whether engine and disk still serve."""
        self.set_interval(_LIVENESS_SECONDS, self._check)
        self.connect()

    async def on_unmount(self) -> None:
        """Close connections, which stops an answer under way on the server too."""
        await self._link.disconnect()

    @work(exclusive=True, group="engine")
    async def connect(self) -> None:
        """Reach the engine, started if need be, and wait for its model."""
        self.info = None
        self._loading = "Starting the engine"
        self.draw()
        try:
            info = await self._link.connect(self._note_loading)
        except DsparkError as error:
            self._loading = ""
            await self.show_engine_notice(str(error), error)
            return
        self._loading = ""
        self.info = info
        await self.engine_ready(info)
        self.engine_came(info)
        self.draw()

    async def switch_engine(self, options: EngineOptions) -> None:
        """Replace the engine by one with these options; the conversation stays. Only where the link can switch."""
        assert isinstance(self._link, LocalEngine), "a server of somebody else's stays as it is"
        self._link.use(options)
        await self.query(EngineNotice).remove()
        self._composer.focus()
        self.connect()

    def _note_loading(self, progress: LoadProgress) -> None:
        self._loading = loading_label(progress)

    async def _check(self) -> None:
        if not self.is_answering:
            self._store.retry()
            if self.info is not None and (notice := self._link.death_notice()) is not None:
                await self.show_engine_notice(notice)
        await self._tell_of_the_disk()

    async def _tell_of_the_disk(self) -> None:
        """Say once that the disk refuses; the status line goes on saying so until it takes everything again."""
        told, self._told_problem = self._told_problem, self._store.problem
        if self._store.problem == told:
            return
        await self.query(UnsavedNotice).remove()
        if self._store.problem:
            await self._messages.mount(UnsavedNotice(unsaved_text(self._store.problem, self._store.path)))
            self._messages.anchor()
        else:
            self.hint("Everything said is on disk now.")

    async def show_engine_notice(self, text: str, failure: DsparkError | None = None) -> None:
        """Say in the list that there is no engine, with the keys that bring one back."""
        self.info = None
        if failure is None and self._link.ended_for_memory:
            failure = OutOfMemoryError(text)
        await self.show_notice(text, failure)

    async def show_notice(self, text: str, failure: DsparkError | None) -> None:
        """Say in the list what is wrong with the engine, and offer what can be done."""
        await self.query(EngineNotice).remove()
        notice = EngineNotice(text, self.ways_out(failure), is_ours=self._link.can_switch)
        await self._messages.mount(notice)
        self._messages.anchor()
        if not self._composer.text:  # keys of somebody who is writing belong to the box
            notice.focus()
        self.draw()

    async def on_engine_notice_restart(self) -> None:
        """Start the engine again; the conversation goes on where it was."""
        await self.query(EngineNotice).remove()
        self._composer.focus()
        self.connect()

    async def on_engine_notice_chosen(self, message: EngineNotice.Chosen) -> None:
        """Start the engine another way."""
        await self.switch_engine(message.offer.options)

    async def what_happened(self, failure: DsparkError) -> str:
        """A process that dies closes its connections a moment before its end can be seen."""
        for _ in range(20):
            if (notice := self._link.death_notice()) is not None:
                return notice
            await asyncio.sleep(0.05)
        return str(failure)
