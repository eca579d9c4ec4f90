"""From the engine's events to a response: the object itself, and the events of a stream that build it.

One state machine serves both: a whole answer is what a stream leaves behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.events import (
    Event,
    Finished,
    GenerationStats,
    PrefillProgress,
    TextDelta,
    TokenLogprobs,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import ChatRequest
from dspark_local.server.faults import error_body
from dspark_local.server.openai_figures import finish_reason, progress_of, speculation_asked, stats_of
from dspark_local.server.openai_logprobs import PendingLogprobs, token_logprob
from dspark_local.server.openai_responses import SEALED_REASONING
from dspark_local.server.openai_responses_input import sealed
from dspark_local.server.schemas.responses_answer import (
    ItemStatus,
    WireFunctionCallItem,
    WireIncomplete,
    WireInputDetails,
    WireMessageItem,
    WireOutputItem,
    WireOutputText,
    WireReasoningItem,
    WireReasoningText,
    WireResponse,
    WireResponseError,
    WireResponseUsage,
)
from dspark_local.server.schemas.responses_request import WireResponseRequest
from dspark_local.server.streaming import sse
from dspark_local.wire import WireExtension, WireReasoningTokens

_PROGRESS_SECONDS = 5.0  # an agent gives up on a stream that is silent for minutes, and pings are no events to it


class ResponseWriter:
    """Words a response, streamed or whole; implements StreamWriter and AnswerBuilder of routes.answering."""

    def __init__(self, info: ModelInfo, wire: WireResponseRequest, request: ChatRequest) -> None:
        self.response = blank_response(info, wire, request)
        self._speculation = speculation_asked(request)
        self._seals = SEALED_REASONING in (wire.include or ())
        self._pending = PendingLogprobs()
        self._open: WireOutputItem | None = None
        self._sequence = 0
        self._told_progress = time.monotonic()

    def opening(self) -> Iterable[bytes]:
        """The response before anything is in it."""
        return [self._lifecycle("created"), self._lifecycle("in_progress")]

    def write(self, event: Event) -> Iterable[bytes]:
        """The stream's events for one of the engine's. Raises EngineUnavailableError when the answer was cut off."""
        match event:
            case TextDelta(text, "content"):
                return self._say(text)
            case TextDelta(text, _):
                return self._think(text)
            case ToolCallStarted(_, call_id, name):
                return self._begin(WireFunctionCallItem(id=_new_id("fc"), call_id=call_id, name=name))
            case ToolArgumentsDelta(_, text):
                return self._argue(text)
            case TokenLogprobs():
                self._pending.add(event)
            case PrefillProgress():
                return self._progress(event)
            case Finished():
                return self._finish(event)
        return ()

    def fail(self, error: DsparkError) -> Iterable[bytes]:
        """The end of a stream that broke off: the response that failed, then an error that official clients raise."""
        out = self._close("incomplete")
        self.response.status = "failed"
        self.response.error = WireResponseError(message=str(error))
        body = error_body(error)
        inner = body["error"]
        return [
            *out,
            self._lifecycle("failed"),
            self._event("error", code=inner["code"], message=inner["message"], param=inner["param"], **body),
        ]

    def closing(self) -> Iterable[bytes]:
        """Nothing: the completed response is the end."""
        return ()

    def add(self, event: Event) -> None:
        """Take in any event before Finished, for a whole answer."""
        self.write(event)

    def answer(self, finished: Finished) -> dict[str, Any]:
        """The body of the whole answer. Raises EngineUnavailableError when it was cut off."""
        self.write(finished)
        return self.response.model_dump()

    # ---- items

    def _say(self, text: str) -> list[bytes]:
        out: list[bytes] = []
        if not isinstance(self._open, WireMessageItem):
            out += self._begin(WireMessageItem(id=_new_id("msg")))
            out += self._begin_part(WireOutputText())
        logprobs = [token_logprob(event) for event in self._pending.take()]
        assert isinstance(self._open, WireMessageItem)
        part = self._open.content[0]
        part.text += text
        part.logprobs += logprobs
        told = [logprob.model_dump() for logprob in logprobs]
        return [*out, self._part_event("output_text.delta", delta=text, logprobs=told)]

    def _think(self, text: str) -> list[bytes]:
        out: list[bytes] = []
        if not isinstance(self._open, WireReasoningItem):
            out += self._begin(WireReasoningItem(id=_new_id("rs")))
            out += self._begin_part(WireReasoningText())
        assert isinstance(self._open, WireReasoningItem)
        self._open.content[0].text += text
        return [*out, self._part_event("reasoning_text.delta", delta=text)]

    def _argue(self, text: str) -> list[bytes]:
        assert isinstance(self._open, WireFunctionCallItem), "arguments follow the start of their call"
        self._open.arguments += text
        return [self._item_event("function_call_arguments.delta", delta=text)]

    def _begin(self, item: WireOutputItem) -> list[bytes]:
        out = self._close("completed")
        # The client builds the item from later events, so the first one shows it empty.
        self.response.output.append(item)
        self._open = item
        return [*out, self._event("response.output_item.added", output_index=self._place, item=item)]

    def _begin_part(self, part: WireOutputText | WireReasoningText) -> list[bytes]:
        event = self._part_event("content_part.added", part=part)
        assert self._open is not None
        assert not isinstance(self._open, WireFunctionCallItem)
        self._open.content.append(part)  # type: ignore[arg-type]  # the part of its own kind of item
        return [event]

    def _close(self, status: ItemStatus) -> list[bytes]:
        item = self._open
        if item is None:
            return []
        item.status = status
        out: list[bytes] = []
        if isinstance(item, WireFunctionCallItem):
            done = self._item_event("function_call_arguments.done", name=item.name, arguments=item.arguments)
            out = [done]
        elif isinstance(item, WireMessageItem):
            part = item.content[0]
            out = [self._part_event("output_text.done", text=part.text, logprobs=part.model_dump()["logprobs"])]
            out.append(self._part_event("content_part.done", part=part))
        else:
            text = item.content[0].text
            item.encrypted_content = sealed(text) if self._seals else None
            out = [self._part_event("reasoning_text.done", text=text)]
            out.append(self._part_event("content_part.done", part=item.content[0]))
        out.append(self._event("response.output_item.done", output_index=self._place, item=item))
        self._open = None
        return out

    # ---- the response

    def _progress(self, event: PrefillProgress) -> list[bytes]:
        now = time.monotonic()
        if now - self._told_progress < _PROGRESS_SECONDS:
            return []
        self._told_progress = now
        return [self._lifecycle("in_progress", dspark=progress_of(event))]

    def _finish(self, finished: Finished) -> list[bytes]:
        is_cut = finish_reason(finished) == "length"
        status: ItemStatus = "incomplete" if is_cut else "completed"
        out: list[bytes] = []
        if not any(not isinstance(item, WireReasoningItem) for item in self.response.output) and not is_cut:
            out += self._say("")  # clients expect a message, be it an empty one
        out += self._close(status)
        response = self.response
        response.status = "incomplete" if is_cut else "completed"
        response.incomplete_details = WireIncomplete() if is_cut else None
        response.completed_at = int(time.time())
        response.usage = _usage(finished.stats)
        response.dspark = WireExtension(stats=stats_of(finished.stats, self._speculation))
        return [*out, self._lifecycle("incomplete" if is_cut else "completed")]

    # ---- events

    @property
    def _place(self) -> int:
        return len(self.response.output) - 1

    def _lifecycle(self, what: str, *, dspark: WireExtension | None = None) -> bytes:
        told = self.response if dspark is None else self.response.model_copy(update={"dspark": dspark})
        return self._event(f"response.{what}", response=told)

    def _part_event(self, what: str, **fields: Any) -> bytes:
        return self._item_event(what, content_index=0, **fields)

    def _item_event(self, what: str, **fields: Any) -> bytes:
        assert self._open is not None
        return self._event(f"response.{what}", item_id=self._open.id, output_index=self._place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in fields.items()}
        payload = {"type": kind, "sequence_number": self._sequence, **plain}
        self._sequence += 1
        return sse(payload, event=kind)


def blank_response(info: ModelInfo, wire: WireResponseRequest, request: ChatRequest) -> WireResponse:
    """A response before its first item, with what was asked for, as the API tells it back."""
    form = wire.text.format if wire.text is not None else None
    return WireResponse(
        id=_new_id("resp"),
        created_at=int(time.time()),
        model=info.id,
        instructions=wire.instructions,
        tools=wire.tools or [],
        tool_choice=wire.tool_choice if wire.tool_choice is not None else "auto",
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        temperature=request.sampling.temperature,
        top_p=request.sampling.top_p,
        top_logprobs=request.top_logprobs or 0,
        max_output_tokens=wire.max_output_tokens,
        text={"format": form or {"type": "text"}},
        reasoning={"effort": wire.reasoning.effort if wire.reasoning is not None else None, "summary": None},
        metadata=wire.metadata or {},
    )


def _usage(stats: GenerationStats) -> WireResponseUsage:
    return WireResponseUsage(
        input_tokens=stats.prompt_tokens,
        input_tokens_details=WireInputDetails(cached_tokens=stats.cached_tokens),
        output_tokens=stats.completion_tokens,
        output_tokens_details=WireReasoningTokens(reasoning_tokens=stats.reasoning_tokens),
        total_tokens=stats.prompt_tokens + stats.completion_tokens,
    )


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
