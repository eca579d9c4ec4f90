"""What each route takes and gives, as a table: the part of the OpenAPI document that is not derived from schemas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dspark_local.engine_facts import EngineFacts
from dspark_local.server.routes.llama_cpp import WireTokenize
from dspark_local.server.schemas.anthropic import CountTokensRequest, MessagesRequest
from dspark_local.server.schemas.chat import WireAnswer, WireChatRequest
from dspark_local.server.schemas.completions import WireCompletion, WireCompletionRequest
from dspark_local.server.schemas.responses_answer import WireResponse
from dspark_local.server.schemas.responses_request import WireResponseRequest
from dspark_local.wire import WireHealth, WireModelEntry, WireModelList

Schema = type[Any] | dict[str, Any]
"""A type that pydantic describes, or a JSON schema."""

Errors = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `answer` is the body of a 200, None for none at all.

    statuses are those of its errors, beside what every route may say. content is the answer's type.
    """

    method: Literal["get", "post"]
    path: str
    summary: str
    answer: Schema | None
    body: Schema | None = None
    example: dict[str, Any] | None = None
    streams: bool = False
    is_open: bool = False
    errors: Errors = "openai"
    statuses: tuple[int, ...] = ()
    content: str = "application/json"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT, _COUNT, _TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
_PRESENCE = _object(value={"enum": ["loaded", "loading", "unloaded", "failed"]})
_MOVED = _object(id=_TEXT, status=_PRESENCE)
_MESSAGE = _object(
    id=_TEXT,
    type={"const": "message"},
    role={"const": "assistant"},
    model=_TEXT,
    content=_array({"type": "object", "required": ["type"], "properties": {"type": _TEXT}}),
    stop_reason={"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]},
    usage=_object(input_tokens=_COUNT, output_tokens=_COUNT),
)
_EMPTY = {"type": "object"}  # nothing is read of it, but only JSON is let in
_HELLO = [{"role": "user", "content": "Hello"}]
_LOADING = (503,)
_BUSY = (404, 429, 500, 503)
_OVERLOADED = (404, 429, 500, 503, 529)

OPERATIONS = (
    Operation("get", "/", "Whether somebody is there", None, is_open=True),
    Operation("get", "/openapi.json", "This document", {"type": "object"}),
    Operation("get", "/health", "Whether the model is loaded, and how far it is", WireHealth, is_open=True),
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation, as OpenAI's chat completions do",
        WireAnswer,
        WireChatRequest,
        {"messages": _HELLO, "max_tokens": 64},
        streams=True,
        statuses=_BUSY,
    ),
    Operation(
        "post",
        "/v1/completions",
        "Continue a text or token ids, as OpenAI's completions do",
        WireCompletion,
        WireCompletionRequest,
        {"prompt": "The draft", "max_tokens": 64},
        streams=True,
        statuses=_BUSY,
    ),
    Operation(
        "post",
        "/v1/responses",
        "Answer a list of items, as OpenAI's responses do; nothing is stored",
        WireResponse,
        WireResponseRequest,
        {"input": "Hello", "max_output_tokens": 64},
        streams=True,
        statuses=_BUSY,
    ),
    Operation(
        "post",
        "/v1/messages",
        "Answer a conversation, as Anthropic's messages do",
        _MESSAGE,
        MessagesRequest,
        {"model": "claude-local", "max_tokens": 64, "messages": _HELLO},
        streams=True,
        errors="anthropic",
        statuses=_OVERLOADED,
    ),
    Operation(
        "post",
        "/v1/messages/count_tokens",
        "How many tokens a conversation has",
        _object(input_tokens=_COUNT),
        CountTokensRequest,
        {"model": "claude-local", "messages": _HELLO},
        errors="anthropic",
        statuses=_OVERLOADED,
    ),
    Operation("get", "/v1/models", "The model that is served", WireModelList, statuses=_LOADING),
    Operation("get", "/v1/models/{model_id}", "Its facts", WireModelEntry, statuses=(404, *_LOADING)),
    Operation("post", "/v1/models/{model_id}/load", "Load it again", _MOVED, _EMPTY, {}, statuses=(404, *_LOADING)),
    Operation(
        "post", "/v1/models/{model_id}/unload", "Free its memory", _MOVED, _EMPTY, {}, statuses=(404, 409, *_LOADING)
    ),
    Operation(
        "get",
        "/v1/engine",
        "Memory against the plan, bytes moved, who is answered",
        EngineFacts,
        statuses=_LOADING,
    ),
    Operation("get", "/metrics", "Figures for Prometheus", _TEXT, content="text/plain"),
    Operation(
        "get",
        "/props",
        "Settings, under llama.cpp's names",
        _object(
            model_alias=_TEXT,
            total_slots=_COUNT,
            default_generation_settings=_object(n_ctx=_COUNT, params={"type": "object"}),
            modalities={"type": "object"},
            is_sleeping=_TRUTH,
            build_info=_TEXT,
        ),
        statuses=_LOADING,
    ),
    Operation(
        "get",
        "/slots",
        "Answers under way, under llama.cpp's names",
        _array(_object(id=_COUNT, n_ctx=_COUNT, speculative=_TRUTH, is_processing=_TRUTH)),
        statuses=_LOADING,
    ),
    Operation(
        "post",
        "/tokenize",
        "Token ids of a text",
        _object(tokens=_array(_COUNT)),
        WireTokenize,
        {"content": "Hello"},
        statuses=_LOADING,
    ),
)
