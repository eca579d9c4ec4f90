"""Between OpenAI's chat schema and the engine's own requests and events. Pure functions and two small builders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.errors import EngineUnavailableError
from dspark_local.events import (
    Event,
    Finished,
    GenerationStats,
    PrefillProgress,
    RoundDone,
    SpeculationState,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import (
    ChatMessage,
    ChatRequest,
    SamplingSettings,
    SpeculationSettings,
    ThinkingMode,
    ToolCall,
)
from dspark_local.server.faults import RequestFaultError
from dspark_local.wire import (
    WireAnswer,
    WireAnswerChoice,
    WireAnswerMessage,
    WireCachedTokens,
    WireChatRequest,
    WireChunk,
    WireChunkChoice,
    WireDelta,
    WireExtension,
    WireFinishReason,
    WireFunctionCall,
    WireFunctionDelta,
    WireMessage,
    WirePrefill,
    WireReasoningTokens,
    WireRound,
    WireSpeculation,
    WireStats,
    WireToolCall,
    WireToolCallDelta,
    WireUsage,
)

_EFFORTS: Mapping[str, Literal["high", "max"] | None] = {
    "none": None,
    "minimal": None,
    "low": "high",
    "medium": "high",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}

# ---- request


def to_chat_request(wire: WireChatRequest, info: ModelInfo) -> ChatRequest:
    """The engine's request for a checked body; settings left out take the model's recommendation.

    Raises UsageError for values out of range and for features this server does not have.
    """
    _refuse_unsupported(wire, info)
    thinking, effort = _thinking(wire)
    extension = wire.dspark
    speculation = extension.speculation if extension is not None else None
    return ChatRequest(
        messages=tuple(_message(message) for message in wire.messages),
        sampling=_sampling(wire, info),
        speculation=SpeculationSettings.parse(speculation) if speculation is not None else SpeculationSettings(),
        thinking=thinking,
        reasoning_effort=effort,
        tools=() if wire.tool_choice == "none" else tuple(wire.tools or ()),
        conversation_id=extension.conversation_id if extension is not None else None,
    )


def _refuse_unsupported(wire: WireChatRequest, info: ModelInfo) -> None:
    if wire.model and wire.model != info.id:
        raise RequestFaultError(
            f"There is no model {wire.model[:100]!r} here.",
            code="model_not_found",
            param="model",
            hint=f"The loaded model is {info.id!r}.",
        )
    if wire.n not in (None, 1):
        raise RequestFaultError("n must be 1.", code="unsupported_value", param="n")
    if wire.logprobs:
        raise RequestFaultError("logprobs are not supported.", code="unsupported_parameter", param="logprobs")
    if wire.tool_choice not in (None, "auto", "none"):
        raise RequestFaultError("tool_choice must be auto or none.", code="unsupported_value", param="tool_choice")
    if (wire.response_format or {}).get("type", "text") != "text":
        raise RequestFaultError("response_format must be text.", code="unsupported_value", param="response_format")


def _sampling(wire: WireChatRequest, info: ModelInfo) -> SamplingSettings:
    given: dict[str, Any] = {
        "temperature": info.recommended_temperature,
        "top_p": info.recommended_top_p,
        "max_tokens": wire.max_completion_tokens,
        "stop": (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
    }
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
    for name in (*names, "seed"):
        if (value := getattr(wire, name)) is not None:
            given[name] = value
    if given["max_tokens"] is None:
        given["max_tokens"] = wire.max_tokens
    return SamplingSettings(**given)


def _thinking(wire: WireChatRequest) -> tuple[ThinkingMode, Literal["high", "max"] | None]:
    template = wire.chat_template_kwargs
    asked = wire.reasoning_effort or (template.reasoning_effort if template is not None else None)
    if asked is not None and asked not in _EFFORTS:
        raise RequestFaultError(f"reasoning_effort must be one of {', '.join(_EFFORTS)}.", param="reasoning_effort")
    effort = _EFFORTS[asked] if asked is not None else None
    switch = None
    if template is not None:
        switch = template.enable_thinking if template.enable_thinking is not None else template.thinking
    if switch is None:
        switch = effort is not None
    return ("thinking", effort) if switch else ("chat", None)


def _message(wire: WireMessage) -> ChatMessage:
    return ChatMessage(
        role=wire.role,
        content=_text(wire),
        reasoning=wire.reasoning if wire.reasoning is not None else wire.reasoning_content,
        tool_calls=tuple(
            ToolCall(call.id, call.function.name, call.function.arguments) for call in wire.tool_calls or ()
        ),
        tool_call_id=wire.tool_call_id,
    )


def _text(wire: WireMessage) -> str:
    if wire.content is None or isinstance(wire.content, str):
        return wire.content or ""
    for part in wire.content:
        if part.type != "text" or part.text is None:
            message = f"Content parts of type {part.type[:40]!r} are not supported, only text."
            raise RequestFaultError(message, code="unsupported_value", param="messages")
    return "".join(part.text or "" for part in wire.content)


# ---- answer


def speculation_asked(request: ChatRequest) -> str:
    """How this request speculates, in the words of SpeculationSettings.parse."""
    settings = request.speculation
    if settings.mode == "static":
        return f"static:{settings.draft_tokens}"
    return f"threshold:{settings.threshold:g}" if settings.mode == "threshold" else settings.mode


def usage_of(stats: GenerationStats) -> WireUsage:
    """Token counts in OpenAI's shape."""
    return WireUsage(
        prompt_tokens=stats.prompt_tokens,
        completion_tokens=stats.completion_tokens,
        total_tokens=stats.prompt_tokens + stats.completion_tokens,
        prompt_tokens_details=WireCachedTokens(cached_tokens=stats.cached_tokens),
        completion_tokens_details=WireReasoningTokens(reasoning_tokens=stats.reasoning_tokens),
    )


def stats_of(stats: GenerationStats, speculation: str) -> WireStats:
    """Figures of the answer for the extension object."""
    positions = zip(stats.accepted_per_position, stats.verified_per_position, strict=True)
    return WireStats(
        passes=stats.passes,
        time_to_first_token=stats.prefill_seconds,
        decode_seconds=stats.decode_seconds,
        tokens_per_second=stats.tokens_per_second,
        accepted_length=stats.accepted_length,
        drafted_tokens=stats.drafted_tokens,
        verified_tokens=stats.verified_tokens,
        accepted_tokens=stats.accepted_tokens,
        verified_per_position=list(stats.verified_per_position),
        accepted_per_position=list(stats.accepted_per_position),
        acceptance_per_position=[kept / checked if checked else 0.0 for kept, checked in positions],
        context_used=stats.context_used,
        context_length=stats.context_length,
        speculation=speculation,
        speculation_state=_speculation_state(stats.speculation),
    )


def _speculation_state(state: SpeculationState) -> WireSpeculation:
    return WireSpeculation(phase=state.phase, verified=state.verified, block_size=state.block_size, gain=state.gain)


def finish_reason(finished: Finished) -> WireFinishReason:
    """The reason in OpenAI's words. A client that still listens did not cancel: then the server is going down."""
    if finished.reason == "cancelled":
        raise EngineUnavailableError("The engine stopped before the answer was complete.")
    return finished.reason


class ChunkWriter:
    """Turns events into chunks of one streamed answer."""

    def __init__(self, info: ModelInfo, speculation: str, *, include_usage: bool) -> None:
        self._blank = WireChunk(id=new_answer_id(), created=int(time.time()), model=info.id)
        self._speculation = speculation
        self._include_usage = include_usage

    def opening(self) -> WireChunk:
        """The first chunk, which names the role."""
        return self._chunk(WireDelta(role="assistant", content=""))

    def chunks(self, event: Event) -> list[WireChunk]:
        """The chunks of one event, in order. Raises EngineUnavailableError when the answer was cut off."""
        match event:
            case TextDelta(text, "content"):
                return [self._chunk(WireDelta(content=text))]
            case TextDelta(text, _):
                # Some clients stop at a chunk without content, so an empty one rides along.
                return [self._chunk(WireDelta(content="", reasoning=text, reasoning_content=text))]
            case ToolCallStarted(index, call_id, name):
                function = WireFunctionDelta(name=name, arguments="")
                return [self._call(WireToolCallDelta(index=index, id=call_id, type="function", function=function))]
            case ToolArgumentsDelta(index, text):
                return [self._call(WireToolCallDelta(index=index, function=WireFunctionDelta(arguments=text)))]
            case PrefillProgress(done, total, cached):
                return [self._extra(WireExtension(prefill=WirePrefill(done=done, total=total, cached=cached)))]
            case RoundDone():
                figures = WireRound(
                    drafted=len(event.draft_ids),
                    verified=event.verified,
                    accepted=event.accepted,
                    context_used=event.context_used,
                    source=event.source,
                    draft_seconds=event.draft_seconds,
                    verify_seconds=event.verify_seconds,
                    speculation_state=_speculation_state(event.speculation),
                )
                return [self._extra(WireExtension(round=figures))]
            case Finished():
                return self._closing(event)

    def _closing(self, finished: Finished) -> list[WireChunk]:
        last = self._chunk(WireDelta())
        last.choices[0].finish_reason = finish_reason(finished)
        last.dspark = WireExtension(stats=stats_of(finished.stats, self._speculation))
        if not self._include_usage:
            return [last]
        return [last, self._blank.model_copy(update={"usage": usage_of(finished.stats)})]

    def _chunk(self, delta: WireDelta) -> WireChunk:
        return self._blank.model_copy(update={"choices": [WireChunkChoice(delta=delta)]})

    def _call(self, delta: WireToolCallDelta) -> WireChunk:
        return self._chunk(WireDelta(tool_calls=[delta]))

    def _extra(self, extension: WireExtension) -> WireChunk:
        # An empty choice comes along, because many clients read choices[0].delta.content without looking.
        chunk = self._chunk(WireDelta(content=""))
        chunk.dspark = extension
        return chunk


class AnswerBuilder:
    """Gathers events into one answer that is not streamed."""

    def __init__(self, info: ModelInfo, speculation: str) -> None:
        self._model = info.id
        self._speculation = speculation
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, WireToolCall] = {}

    def add(self, event: Event) -> None:
        """Take in any event before Finished."""
        match event:
            case TextDelta(text, channel):
                (self._content if channel == "content" else self._reasoning).append(text)
            case ToolCallStarted(index, call_id, name):
                self._calls[index] = WireToolCall(id=call_id, function=WireFunctionCall(name=name))
            case ToolArgumentsDelta(index, text):
                self._calls[index].function.arguments += text
            case _:
                pass

    def answer(self, finished: Finished) -> WireAnswer:
        """The whole answer. Raises EngineUnavailableError when it was cut off."""
        reasoning = "".join(self._reasoning) or None
        message = WireAnswerMessage(
            content="".join(self._content),
            reasoning=reasoning,
            reasoning_content=reasoning,
            tool_calls=[self._calls[index] for index in sorted(self._calls)] or None,
        )
        return WireAnswer(
            id=new_answer_id(),
            created=int(time.time()),
            model=self._model,
            choices=[WireAnswerChoice(message=message, finish_reason=finish_reason(finished))],
            usage=usage_of(finished.stats),
            dspark=WireExtension(stats=stats_of(finished.stats, self._speculation)),
        )


def new_answer_id() -> str:
    """A fresh id in OpenAI's form."""
    return f"chatcmpl-{uuid.uuid4().hex}"
