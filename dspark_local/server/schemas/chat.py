"""Body of POST /v1/chat/completions, and of an answer that is not streamed. Chunks are in dspark_local.wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dspark_local.server.schemas.limits import (
    MAX_CALLS,
    MAX_CONTENT_PARTS,
    MAX_MESSAGES,
    MAX_TOOLS,
    JsonObject,
    Name,
)
from dspark_local.server.schemas.sampling import WireSampling
from dspark_local.wire import WireExtension, WireFinishReason, WireLogprobs, WireModel, WireUsage


class WireTextPart(WireModel):
    """A part of a message's content; only text is understood, a refusal is text too."""

    type: str
    text: str | None = None
    refusal: str | None = None


class WireFunctionCall(WireModel):
    """A function's name and its arguments as a JSON string."""

    name: Name = ""
    arguments: str = ""


class WireToolCall(WireModel):
    """A call the assistant made."""

    id: Name = ""
    type: Literal["function"] = "function"
    function: WireFunctionCall


class WireMessage(WireModel):
    """One message of the conversation. Reasoning is accepted under both of its common names.

    prefix, on the last message, is DeepSeek's word for an answer that goes on.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[WireTextPart], Field(max_length=MAX_CONTENT_PARTS)] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[WireToolCall], Field(max_length=MAX_CALLS)] | None = None
    tool_call_id: Name | None = None
    prefix: bool | None = None


class WireTemplateOptions(WireModel):
    """The names that vLLM, SGLang and llama.cpp servers use for the thinking switch."""

    enable_thinking: bool | None = None
    thinking: bool | None = None
    reasoning_effort: Name | None = None


class WireChatRequest(WireSampling):
    """Body of POST /v1/chat/completions.

    A last message of the assistant's goes on, unless continue_final_message (vLLM's word) or its prefix is false.
    """

    messages: Annotated[list[WireMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: Annotated[list[JsonObject], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Name | JsonObject | None = None
    response_format: JsonObject | None = None
    reasoning_effort: Name | None = None
    chat_template_kwargs: WireTemplateOptions | None = None
    continue_final_message: bool | None = None
    parallel_tool_calls: bool | None = None


class WireAnswerMessage(WireModel):
    """The whole message of an answer that was not streamed."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireAnswerChoice(WireModel):
    """The one choice of an answer. stop_reason is vLLM's name for the stop string that ended it."""

    index: int = 0
    message: WireAnswerMessage
    logprobs: WireLogprobs | None = None
    finish_reason: WireFinishReason
    stop_reason: str | None = None


class WireAnswer(WireModel):
    """Body of an answer that was not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[WireAnswerChoice]
    usage: WireUsage
    dspark: WireExtension
