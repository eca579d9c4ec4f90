"""From the engine's events to Anthropic's: blocks that open, grow and close, one after the other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.errors import EngineUnavailableError
from dspark_local.events import (
    Event,
    Finished,
    GenerationStats,
    PrefillProgress,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)

Payload = dict[str, Any]
BlockKind = Literal["thinking", "text", "tool_use"]

# Anthropic signs reasoning so that nobody can alter it. Nothing is signed here, and the value says so.
UNSIGNED = "unsigned-by-dspark-local"

_EMPTY: dict[str, Payload] = {
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
}


class MessageWriter:
    """Turns events into the stream events of one message; each payload's `type` is also the event's name.

    max_tokens is what the request asked for: an answer that was cut before had no room left in the context.
    """

    def __init__(self, info: ModelInfo, max_tokens: int) -> None:
        self._model = info.id
        self._max_tokens = max_tokens
        self._started = False
        self._index = -1
        self._open: BlockKind | None = None

    def payloads(self, event: Event) -> Iterator[Payload]:
        """The stream events of one event, in order. Raises EngineUnavailableError when the answer was cut off."""
        if not self._started:
            self._started = True
            yield self._message_start(event)
        match event:
            case TextDelta(text, "reasoning"):
                yield from self._ensure("thinking")
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case TextDelta(text, _):
                yield from self._ensure("text")
                yield self._delta({"type": "text_delta", "text": text})
            case ToolCallStarted(_, call_id, name):
                yield from self._begin("tool_use", {"type": "tool_use", "id": call_id, "name": name, "input": {}})
            case ToolArgumentsDelta(_, text):
                yield self._delta({"type": "input_json_delta", "partial_json": text})
            case Finished():
                yield from self._end()
                delta = {"stop_reason": self._stop_reason(event), "stop_sequence": event.stop_string}
                yield {"type": "message_delta", "delta": delta, "usage": usage_of(event.stats)}
                yield {"type": "message_stop"}
            case _:
                pass

    def _message_start(self, event: Event) -> Payload:
        known = event if isinstance(event, PrefillProgress) else PrefillProgress(0, 0, 0)
        stats = GenerationStats(prompt_tokens=known.total, cached_tokens=known.cached)
        message: Payload = {
            "id": f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(stats),
        }
        return {"type": "message_start", "message": message}

    def _ensure(self, kind: Literal["thinking", "text"]) -> Iterator[Payload]:
        if self._open != kind:
            yield from self._begin(kind, dict(_EMPTY[kind]))

    def _begin(self, kind: BlockKind, block: Payload) -> Iterator[Payload]:
        yield from self._end()
        self._open = kind
        self._index += 1
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _end(self) -> Iterator[Payload]:
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": UNSIGNED})
        if self._open is not None:
            yield {"type": "content_block_stop", "index": self._index}
        self._open = None

    def _delta(self, delta: Payload) -> Payload:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _stop_reason(self, finished: Finished) -> str:
        match finished.reason:
            case "cancelled":  # a client that still listens did not cancel: then the server is going down
                raise EngineUnavailableError("The engine stopped before the answer was complete.")
            case "tool_calls":
                return "tool_use"
            case "length":
                cut = finished.stats.completion_tokens >= self._max_tokens
                return "max_tokens" if cut else "model_context_window_exceeded"
            case "stop":
                return "end_turn" if finished.stop_string is None else "stop_sequence"


def usage_of(stats: GenerationStats) -> Payload:
    """Token counts in Anthropic's shape, where input_tokens leaves out what the cache held."""
    return {
        "input_tokens": stats.prompt_tokens - stats.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": stats.cached_tokens,
        "output_tokens": stats.completion_tokens,
        "output_tokens_details": {"thinking_tokens": stats.reasoning_tokens},
        "service_tier": "standard",
    }


def whole_message(payloads: Iterable[Payload]) -> Payload:
    """The message that a stream of events tells, for clients that did not ask for a stream.

    A tool call that was cut off is left out: half a command must not be executed.
    """
    message: Payload = {}
    pieces: dict[int, list[str]] = {}
    for payload in payloads:
        match payload["type"]:
            case "message_start":
                message = payload["message"]
            case "content_block_start":
                message["content"].append(payload["content_block"])
                pieces[payload["index"]] = []
            case "content_block_delta":
                _grow(message["content"][payload["index"]], payload["delta"], pieces[payload["index"]])
            case "message_delta":
                message |= payload["delta"] | {"usage": payload["usage"]}
            case _:
                pass
    for index, block in enumerate(message["content"]):
        joined = "".join(pieces[index])
        if block["type"] == "tool_use":
            block["input"] = _arguments(joined)
        else:
            block[block["type"]] = joined
    message["content"] = [block for block in message["content"] if block.get("input", {}) is not None]
    return message


def _grow(block: Payload, delta: Payload, pieces: list[str]) -> None:
    if delta["type"] == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        pieces.append(delta.get("partial_json") or delta.get("text") or delta.get("thinking") or "")


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return None
