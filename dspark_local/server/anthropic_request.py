"""From a checked body of /v1/messages to the engine's request. Pure functions."""

from __future__ import annotations

from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.request import (
    ChatMessage,
    ChatRequest,
    NamedTool,
    OutputFormat,
    SamplingSettings,
    ThinkingMode,
    ToolChoice,
)
from dspark_local.server.anthropic_content import system_text, to_messages
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.schemas.anthropic import CountTokensRequest, Effort, MessagesRequest, Tool

# "high" is what Anthropic's models do when nothing is said, so here it is the model's plain thinking.
_EFFORTS: dict[Effort, Literal["high", "max"] | None] = {
    "low": None,
    "medium": None,
    "high": None,
    "xhigh": "high",
    "max": "max",
}


def to_chat_request(wire: CountTokensRequest, info: ModelInfo) -> ChatRequest:
    """The engine's request; settings left out take the model's recommendation.

    Any name that begins with `claude-` means the loaded model, because Claude Code asks for several of them, whatever
    it is told. Raises RequestFaultError for other names, UsageError for values out of range.
    """
    check_model(wire.model, info)
    system = system_text(wire.system)
    thinking, effort = _thinking(wire)
    return ChatRequest(
        messages=(*([ChatMessage("system", system)] if system else []), *to_messages(wire.messages)),
        sampling=_sampling(wire, info) if isinstance(wire, MessagesRequest) else SamplingSettings(),
        thinking=thinking,
        reasoning_effort=effort,
        tools=tuple(_tool(tool) for tool in wire.tools or () if tool.input_schema is not None),
        output_format=_output_format(wire),
        tool_choice=_tool_choice(wire),
        parallel_tool_calls=wire.tool_choice is None or not wire.tool_choice.disable_parallel_tool_use,
    )


def check_model(name: str, info: ModelInfo) -> None:
    """Raises RequestFaultError (404) unless `name` is the loaded model's or begins with `claude-`."""
    if name != info.id and not name.startswith("claude-"):
        raise RequestFaultError(
            f"There is no model {name[:100]!r} here.",
            code="model_not_found",
            param="model",
            hint=f"The loaded model is {info.id!r}; any name that begins with claude- means it too.",
        )


def _sampling(wire: MessagesRequest, info: ModelInfo) -> SamplingSettings:
    return SamplingSettings(
        temperature=info.recommended_temperature if wire.temperature is None else wire.temperature,
        top_p=info.recommended_top_p if wire.top_p is None else wire.top_p,
        top_k=wire.top_k or 0,
        max_tokens=wire.max_tokens,
        stop=tuple(wire.stop_sequences or ()),
    )


def _thinking(wire: CountTokensRequest) -> tuple[ThinkingMode, Literal["high", "max"] | None]:
    if wire.thinking is None or wire.thinking.type == "disabled":
        return "chat", None
    effort = wire.output_config.effort if wire.output_config is not None else None
    return "thinking", _EFFORTS[effort] if effort is not None else None


def _tool(tool: Tool) -> dict[str, Any]:
    if not tool.name:
        raise RequestFaultError("tools: a tool has no name.", param="tools")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    return {"type": "function", "function": function}


def _tool_choice(wire: CountTokensRequest) -> ToolChoice:
    choice = wire.tool_choice
    if choice is None or choice.type == "auto":
        return "auto"
    if choice.type == "tool":
        if not choice.name:
            raise RequestFaultError("tool_choice of type tool needs a name.", param="tool_choice")
        return NamedTool(choice.name)
    return "required" if choice.type == "any" else "none"


def _output_format(wire: CountTokensRequest) -> OutputFormat | None:
    asked = wire.output_config.format if wire.output_config is not None else None
    asked = asked or wire.output_format
    return OutputFormat("json_schema", asked.json_schema) if asked is not None else None
