"""From OpenAI's responses schema to the engine's own request."""

from __future__ import annotations

from dspark_local.backend import ModelInfo
from dspark_local.request import ChatRequest
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.openai_responses_input import messages_of
from dspark_local.server.openai_settings import (
    check_model,
    output_format_of,
    sampling_of,
    speculation_of,
    thinking_of,
    with_output_format,
)
from dspark_local.server.openai_tools import function_tools, tool_choice_of
from dspark_local.server.schemas.responses_request import WireResponseRequest

LOGPROBS = "message.output_text.logprobs"
SEALED_REASONING = "reasoning.encrypted_content"


def to_chat_request(wire: WireResponseRequest, info: ModelInfo) -> ChatRequest:
    """The engine's request for a checked body; settings left out take the model's recommendation.

    Raises UsageError for values out of range and for features this server does not have.
    """
    check_model(wire, info)
    _refuse_stored(wire)
    effort = wire.reasoning.effort if wire.reasoning is not None else None
    thinking, level = thinking_of(effort, None, param="reasoning.effort")
    output_format = output_format_of(wire.text.format if wire.text is not None else None, param="text.format")
    extension = wire.dspark
    return ChatRequest(
        messages=with_output_format(messages_of(wire.instructions, wire.input), output_format),
        sampling=sampling_of(wire, info, wire.max_output_tokens),
        speculation=speculation_of(extension),
        thinking=thinking,
        reasoning_effort=level,
        tools=function_tools(wire.tools),
        conversation_id=extension.conversation_id if extension is not None else None,
        top_logprobs=_top_logprobs(wire),
        output_format=output_format,
        tool_choice=tool_choice_of(wire.tool_choice),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
    )


def _refuse_stored(wire: WireResponseRequest) -> None:
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(wire, name) is not None:
            raise RequestFaultError(
                f"{name} is not supported: this server stores neither responses nor prompts.",
                code="unsupported_parameter",
                param=name,
                hint="Send the whole conversation as input; what the cache still holds of it is not read again.",
            )
    if wire.background:
        raise RequestFaultError(
            "background is not supported: an answer that nobody waits for is stopped.",
            code="unsupported_parameter",
            param="background",
            hint="Use stream instead.",
        )


def _top_logprobs(wire: WireResponseRequest) -> int | None:
    if wire.top_logprobs:
        return wire.top_logprobs
    return 0 if LOGPROBS in (wire.include or ()) else None
