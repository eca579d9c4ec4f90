"""One message of Anthropic's, as a stream of events or as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished, PrefillProgress
from dspark_local.server.anthropic_answer import MessageWriter, Payload, whole_message
from dspark_local.server.anthropic_faults import messages_error_body
from dspark_local.server.streaming import sse

PING_EVENT = sse({"type": "ping"}, "ping")


class MessageStream:
    """See StreamWriter. The stream begins with the first event, which knows how long the prompt is."""

    def __init__(self, info: ModelInfo, max_tokens: int, request_id: str) -> None:
        self._writer = MessageWriter(info, max_tokens)
        self._request_id = request_id

    def opening(self) -> list[bytes]:
        """Nothing."""
        return []

    def write(self, event: Event) -> Iterator[bytes]:
        """What the event says; a ping for a step of the prefill, which has nothing else to show for minutes."""
        for payload in self._writer.payloads(event):
            yield sse(payload, payload["type"])
        if isinstance(event, PrefillProgress):
            yield PING_EVENT

    def fail(self, error: DsparkError) -> list[bytes]:
        """The error as an event."""
        return [sse(messages_error_body(error, self._request_id), "error")]

    def closing(self) -> list[bytes]:
        """Nothing: message_stop has been sent."""
        return []


class WholeMessage:
    """See AnswerBuilder: the same events, told at once."""

    def __init__(self, info: ModelInfo, max_tokens: int) -> None:
        self._writer = MessageWriter(info, max_tokens)
        self._payloads: list[Payload] = []

    def add(self, event: Event) -> None:
        """Take in any event before Finished."""
        self._payloads += self._writer.payloads(event)

    def answer(self, finished: Finished) -> Payload:
        """The JSON body. Raises EngineUnavailableError when the answer was cut off."""
        self.add(finished)
        return whole_message(self._payloads)
