"""From OpenAI's chat schema to the engine's own request."""

from __future__ import annotations

from dataclasses import replace

from dspark_local.backend import ModelInfo
from dspark_local.request import ChatMessage, ChatRequest, ToolCall
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.openai_settings import (
    Thinking,
    check_model,
    output_format_of,
    sampling_of,
    speculation_of,
    thinking_of,
    with_output_format,
)
from dspark_local.server.openai_tools import function_tools, tool_choice_of
from dspark_local.server.schemas.chat import WireChatRequest, WireMessage


def to_chat_request(wire: WireChatRequest, info: ModelInfo) -> ChatRequest:
    """The engine's request for a checked body; settings left out take the model's recommendation.

    Raises UsageError for values out of range and for features this server does not have.
    """
    check_model(wire, info)
    thinking, effort = _thinking(wire)
    extension = wire.dspark
    output_format = output_format_of(wire.response_format, param="response_format")
    max_tokens = wire.max_completion_tokens if wire.max_completion_tokens is not None else wire.max_tokens
    return ChatRequest(
        messages=with_output_format(_messages(wire), output_format),
        sampling=sampling_of(wire, info, max_tokens),
        speculation=speculation_of(extension),
        thinking=thinking,
        reasoning_effort=effort,
        tools=function_tools(wire.tools),
        conversation_id=extension.conversation_id if extension is not None else None,
        top_logprobs=_top_logprobs(wire),
        output_format=output_format,
        tool_choice=tool_choice_of(wire.tool_choice),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
    )


def _top_logprobs(wire: WireChatRequest) -> int | None:
    if wire.top_logprobs is not None and not wire.logprobs:
        raise RequestFaultError("top_logprobs needs logprobs to be true.", param="top_logprobs")
    return wire.top_logprobs or 0 if wire.logprobs else None


def _thinking(wire: WireChatRequest) -> Thinking:
    template = wire.chat_template_kwargs
    if template is None:
        return thinking_of(wire.reasoning_effort, None, param="reasoning_effort")
    switch = template.enable_thinking if template.enable_thinking is not None else template.thinking
    return thinking_of(wire.reasoning_effort or template.reasoning_effort, switch, param="reasoning_effort")


def _messages(wire: WireChatRequest) -> list[ChatMessage]:
    """The conversation; a last message of the assistant's is marked as the beginning of the answer."""
    messages = [_message(message) for message in wire.messages]
    goes_on = [message.prefix for message in wire.messages]
    if goes_on[-1] is None:
        goes_on[-1] = wire.continue_final_message
    if goes_on[-1] is None:
        goes_on[-1] = messages[-1].role == "assistant" and not messages[-1].tool_calls
    return [replace(message, prefix=bool(mark)) for message, mark in zip(messages, goes_on, strict=True)]


def _message(wire: WireMessage) -> ChatMessage:
    return ChatMessage(
        # OpenAI's developer is its newer word for system; V4 has a developer of its own, which it forgets over time.
        role="system" if wire.role == "developer" else wire.role,
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
        if part.text is None and part.refusal is None:
            message = f"Content parts of type {part.type[:40]!r} are not supported, only text."
            raise RequestFaultError(message, code="unsupported_value", param="messages")
    return "".join(part.text or part.refusal or "" for part in wire.content)
