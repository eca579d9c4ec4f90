"""The part of the chat that offers ways out when the engine has gone or memory has run out."""

from __future__ import annotations

from dspark_local.answer_stream import ClientEvent
from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_tui.answering import Answering
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import EngineLink, LocalEngine
from dspark_tui.recovery import Offer, offers
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.notice import EngineNotice, ErrorNotice

_LONG_HINT_SECONDS = 8.0


class RecoveryPart(AskingScreen):
    """Nothing is retried by itself: the person chooses."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._is_recovering = False
        self._known_context = 0
        self.observers.append(self._drop_notice)

    def ways_out(self, failure: DsparkError | None) -> tuple[Offer, ...]:
        """What the notice offers besides starting the same engine again."""
        if not isinstance(self._link, LocalEngine):
            return ()
        return offers(self._link.options, context=self._known_context, used=self.meter.context_used, failure=failure)

    def engine_came(self, info: ModelInfo) -> None:
        """Say how the answer that was cut off goes on."""
        self._known_context = info.context_length
        turns = self.conversation.turns
        if self._is_recovering and turns and turns[-1].state == "interrupted":
            if turns[-1].is_cut_off:
                way = f"{self.keys.first('continue')} goes on with the answer that was cut off."
            else:
                way = f"{self.keys.first('regenerate')} asks again."
            self.hint(f"The engine is back. {way}", _LONG_HINT_SECONDS)
        self._is_recovering = False

    async def show_engine_notice(self, text: str, failure: DsparkError | None = None) -> None:
        """Remember that an engine is to come back."""
        self._is_recovering = True
        await super().show_engine_notice(text, failure)

    async def _show_failure(self, answering: Answering, failure: DsparkError) -> None:
        await super()._show_failure(answering, failure)
        if self._composer.text == answering.turn.prompt:  # the prompt that came back: nobody is writing
            for engine_notice in self.query(EngineNotice):
                engine_notice.focus()
        if failure.code == OutOfMemoryError.code and self.info is not None and self._link.can_switch:
            for notice in self.query(ErrorNotice):
                if str(failure) in str(notice.content):
                    await notice.remove()
            words = "The engine still runs: a shorter prompt may do."
            await self.show_notice(f"{failure}\n{words}", failure)
            self._is_recovering = True

    def _drop_notice(self, event: ClientEvent | None) -> None:
        if event is None:  # a new answer begins, so the engine did come back, or never went
            self.query(EngineNotice).remove()
