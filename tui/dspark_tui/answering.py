"""Streams one answer into a Turn, its view, the meter and the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

from dspark_local.answer_stream import ClientEvent
from dspark_local.client import EngineClient
from dspark_local.errors import DsparkError
from dspark_local.events import Finished, TextDelta
from dspark_local.request import ChatRequest
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.meter import LiveMeter
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.messages import AssistantMessage

SAVE_SECONDS = 0.5


class Answering:
    """One answer under way. run() returns None, or the error that ended it; a cancelled run() leaves a stopped turn."""

    def __init__(
        self,
        conversation: Conversation,
        view: AssistantMessage,
        meter: LiveMeter,
        store: ConversationStore,
        observers: Sequence[Callable[[ClientEvent | None], None]] = (),
    ) -> None:
        self._conversation = conversation
        self.turn: Turn = view.turn
        self.view = view
        self._meter = meter
        self._store = store
        self._observers = observers
        self._saved_at = 0.0

    async def run(self, client: EngineClient, request: ChatRequest) -> DsparkError | None:
        """Stream to the end. The turn is on disk, with its state, before this returns or is cancelled."""
        self._meter.begin()
        self._tell(None)
        self.save()
        failure: DsparkError | None = None
        try:
            async with aclosing(client.chat(request)) as events:
                async for event in events:
                    self._take(event)
                    self._save_now_and_then()
        except asyncio.CancelledError:
            self.turn.state = "stopped"
            raise
        except DsparkError as error:
            self.turn.state = "interrupted"
            failure = error
        finally:
            self._meter.end()
            self._note_figures()
            self.save()
        return failure

    def save(self) -> None:
        """Write the conversation now. A disk that refuses does not end the chat: the store holds what it owes."""
        self._saved_at = time.monotonic()
        self._store.keep(self._conversation)

    def _take(self, event: ClientEvent) -> None:
        self._meter.take(event)
        self._tell(event)
        turn = self.turn
        match event:
            case TextDelta(text, "reasoning"):
                turn.reasoning += text
            case TextDelta(text, _):
                turn.answer += text
                self.view.markdown.write(text)
            case Finished(reason):
                turn.state = "length" if reason == "length" else "complete"
            case _:
                pass

    def _tell(self, event: ClientEvent | None) -> None:
        for observer in self._observers:
            observer(event)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def _note_figures(self) -> None:
        turn, meter = self.turn, self._meter
        turn.thinking_seconds = meter.thinking_seconds
        turn.completion_tokens = meter.tokens
        turn.tokens_per_second = meter.tokens_per_second
        turn.accepted_length = meter.accepted_length
