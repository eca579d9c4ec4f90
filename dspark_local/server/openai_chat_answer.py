"""From the engine's events to chat completions in OpenAI's shape, streamed or whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.events import (
    Event,
    Finished,
    PrefillProgress,
    RoundDone,
    TextDelta,
    TokenLogprobs,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import ChatRequest
from dspark_local.server.faults import error_body
from dspark_local.server.openai_figures import DONE, finish_reason, progress_of, speculation_asked, stats_of, usage_of
from dspark_local.server.openai_logprobs import PendingLogprobs, token_logprob
from dspark_local.server.schemas.chat import (
    WireAnswer,
    WireAnswerChoice,
    WireAnswerMessage,
    WireFunctionCall,
    WireToolCall,
)
from dspark_local.server.streaming import sse
from dspark_local.wire import (
    WireChunk,
    WireChunkChoice,
    WireDelta,
    WireExtension,
    WireFunctionDelta,
    WireLogprobs,
    WireTokenLogprob,
    WireToolCallDelta,
)


class ChunkWriter:
    """Turns events into chunks of one streamed answer; implements routes.answering.StreamWriter."""

    def __init__(
        self, info: ModelInfo, request: ChatRequest, *, include_usage: bool, token_texts: bool = False
    ) -> None:
        self._blank = WireChunk(id=_new_answer_id(), created=int(time.time()), model=info.id)
        self._speculation = speculation_asked(request)
        self._include_usage = include_usage
        self._token_texts = token_texts
        self._logprobs = PendingLogprobs()

    def opening(self) -> Iterable[bytes]:
        """The first chunk, which names the role."""
        return [sse(self._chunk(WireDelta(role="assistant", content="")).payload())]

    def write(self, event: Event) -> Iterable[bytes]:
        """The chunks of one event, in order. Raises EngineUnavailableError when the answer was cut off."""
        return [sse(chunk.payload()) for chunk in self._chunks(event)]

    def fail(self, error: DsparkError) -> Iterable[bytes]:
        """The end of a stream that broke off."""
        return [sse(error_body(error))]

    def closing(self) -> Iterable[bytes]:
        """The end of a complete stream."""
        return [DONE]

    def _chunks(self, event: Event) -> list[WireChunk]:
        match event:
            case TextDelta(text, "content"):
                chunk = self._chunk(WireDelta(content=text))
                chunk.choices[0].logprobs = self._logprobs.take_for_chat()
                return [chunk]
            case TextDelta(text, _):
                # Some clients stop at a chunk without content, so an empty one rides along.
                return [self._chunk(WireDelta(content="", reasoning=text, reasoning_content=text))]
            case ToolCallStarted(index, call_id, name):
                function = WireFunctionDelta(name=name, arguments="")
                return [self._call(WireToolCallDelta(index=index, id=call_id, type="function", function=function))]
            case ToolArgumentsDelta(index, text):
                return [self._call(WireToolCallDelta(index=index, function=WireFunctionDelta(arguments=text)))]
            case TokenLogprobs():
                self._logprobs.add(event)
                return []
            case PrefillProgress() | RoundDone():
                return [self._extra(progress_of(event, texts=self._token_texts))]
            case Finished():
                return self._closing(event)

    def _closing(self, finished: Finished) -> list[WireChunk]:
        last = self._chunk(WireDelta())
        last.choices[0].finish_reason = finish_reason(finished)
        last.choices[0].stop_reason = finished.stop_string
        last.dspark = WireExtension(stats=stats_of(finished.stats, self._speculation))
        if not self._include_usage:
            return [last]
        return [last, self._blank.model_copy(update={"usage": usage_of(finished.stats)})]

    def _chunk(self, delta: WireDelta) -> WireChunk:
        return self._blank.model_copy(update={"choices": [WireChunkChoice(delta=delta)]})

    def _call(self, delta: WireToolCallDelta) -> WireChunk:
        return self._chunk(WireDelta(tool_calls=[delta]))

    def _extra(self, extension: WireExtension | None) -> WireChunk:
        # An empty choice comes along, because many clients read choices[0].delta.content without looking.
        chunk = self._chunk(WireDelta(content=""))
        chunk.dspark = extension
        return chunk


class ChatAnswerBuilder:
    """Gathers events into one answer that is not streamed; implements routes.answering.AnswerBuilder."""

    def __init__(self, info: ModelInfo, request: ChatRequest) -> None:
        self._model = info.id
        self._speculation = speculation_asked(request)
        self._wants_logprobs = request.top_logprobs is not None
        self._pending = PendingLogprobs()
        self._logprobs: list[WireTokenLogprob] = []
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, WireToolCall] = {}

    def add(self, event: Event) -> None:
        """Take in any event before Finished."""
        match event:
            case TextDelta(text, "content"):
                self._content.append(text)
                self._logprobs += map(token_logprob, self._pending.take())
            case TextDelta(text, _):
                self._reasoning.append(text)
            case TokenLogprobs():
                self._pending.add(event)
            case ToolCallStarted(index, call_id, name):
                self._calls[index] = WireToolCall(id=call_id, function=WireFunctionCall(name=name))
            case ToolArgumentsDelta(index, text):
                self._calls[index].function.arguments += text
            case _:
                pass

    def answer(self, finished: Finished) -> dict[str, Any]:
        """The body of the whole answer. Raises EngineUnavailableError when it was cut off."""
        reasoning = "".join(self._reasoning) or None
        message = WireAnswerMessage(
            content="".join(self._content),
            reasoning=reasoning,
            reasoning_content=reasoning,
            tool_calls=[self._calls[index] for index in sorted(self._calls)] or None,
        )
        logprobs = WireLogprobs(content=self._logprobs) if self._wants_logprobs else None
        choice = WireAnswerChoice(
            message=message,
            logprobs=logprobs,
            finish_reason=finish_reason(finished),
            stop_reason=finished.stop_string,
        )
        answer = WireAnswer(
            id=_new_answer_id(),
            created=int(time.time()),
            model=self._model,
            choices=[choice],
            usage=usage_of(finished.stats),
            dspark=WireExtension(stats=stats_of(finished.stats, self._speculation)),
        )
        return answer.model_dump(exclude_none=True)


def _new_answer_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
