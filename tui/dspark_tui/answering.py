"""Streams one answer into a Turn, its view, the meter and the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from dspark_local.answer_stream import ClientEvent
from dspark_local.client import EngineClient
from dspark_local.errors import DsparkError, EngineUnavailableError, OutOfMemoryError
from dspark_local.events import Finished, TextDelta
from dspark_local.request import ChatRequest
from dspark_tui.conversation import Conversation, Turn, TurnState
from dspark_tui.meter import LiveMeter
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.messages import AssistantMessage

SAVE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What a part of an answer took: seconds of decoding and passes are worked out from the rates."""

    tokens: int = 0
    seconds: float = 0.0
    passes: float = 0.0
    thinking_seconds: float | None = None

    @classmethod
    def of(cls, turn: Turn) -> Figures:
        """Those of the part that is there."""
        tokens, speed, accepted = turn.completion_tokens, turn.tokens_per_second, turn.accepted_length
        return cls(
            tokens, tokens / speed if speed else 0.0, tokens / accepted if accepted else 0.0, turn.thinking_seconds
        )


class Answering:
    """One answer under way, from its beginning or from where it was cut off.

    run() returns None, or the error that ended it; a cancelled run() leaves a stopped turn. observers are called with
    every event, and with None at the beginning. state_before is the state of an answer that goes on.
    """

    def __init__(
        self,
        conversation: Conversation,
        view: AssistantMessage,
        meter: LiveMeter,
        store: ConversationStore,
        observers: Sequence[Callable[[ClientEvent | None], None]] = (),
        state_before: TurnState | None = None,
    ) -> None:
        self._conversation = conversation
        self.turn: Turn = view.turn
        self.view = view
        self._meter = meter
        self._store = store
        self._observers = observers
        self._saved_at = 0.0
        self._began_at = 0.0
        self._before = Figures.of(view.turn)
        self.state_before = state_before or view.turn.state
        self.has_arrived = False
        """Whether anything of the text has come in this run."""

    async def run(self, client: EngineClient, request: ChatRequest) -> DsparkError | None:
        """Stream to the end. The turn is on disk, with its state, before this returns or is cancelled."""
        self._meter.begin()
        self._tell(None)
        self._began_at = time.monotonic()
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
            if self.has_arrived or self.turn.is_empty:
                self.turn.interruption = what_interrupted(error)
            else:  # going on failed: the answer is as it was
                self.turn.state = self.state_before
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
            case TextDelta(text, channel):
                self._note_arrival()
                if channel == "reasoning":
                    turn.reasoning += text
                else:
                    turn.answer += text
                    self.view.markdown.write(text)
            case Finished(reason):
                turn.state = "length" if reason == "length" else "complete"
                turn.interruption = ""
            case _:
                pass

    def _note_arrival(self) -> None:
        if not self.has_arrived:
            self.has_arrived = True
            # An answer that goes on keeps the figure of its beginning.
            self.turn.first_token_seconds = self.turn.first_token_seconds or time.monotonic() - self._began_at

    def _tell(self, event: ClientEvent | None) -> None:
        for observer in self._observers:
            observer(event)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def _note_figures(self) -> None:
        turn, meter, before = self.turn, self._meter, self._before
        turn.completion_tokens = before.tokens + meter.tokens
        turn.tokens_per_second = _rate(turn.completion_tokens, before.seconds, meter.tokens, meter.tokens_per_second)
        turn.accepted_length = _rate(turn.completion_tokens, before.passes, meter.tokens, meter.accepted_length)
        thought = [seconds for seconds in (before.thinking_seconds, meter.thinking_seconds) if seconds is not None]
        turn.thinking_seconds = sum(thought) if thought else None


def _rate(total: int, spent_before: float, tokens: int, rate: float) -> float:
    """Tokens for each second or pass, over both parts of an answer; rate is that of the newer part."""
    if not spent_before:
        return rate
    return total / (spent_before + (tokens / rate if rate else 0.0))


def what_interrupted(error: DsparkError) -> str:
    """A few words for the line under the answer."""
    if isinstance(error, EngineUnavailableError) or error.code == EngineUnavailableError.code:
        return "the engine went away"
    if isinstance(error, OutOfMemoryError) or error.code == OutOfMemoryError.code:
        return "out of memory"
    words = error.message.strip().split("\n")[0].rstrip(".")
    return words if len(words) <= 60 else words[:59] + "…"
