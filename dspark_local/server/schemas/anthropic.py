"""What Anthropic's clients send to /v1/messages. Unknown fields are ignored, known ones are checked.

Content blocks are one loose model, because a block of a kind that cannot be served deserves a reason, not a parser's
complaint. Fields that steer somebody else's service (metadata, service_tier, context_management, cache_control,
betas) are not named here: they are accepted and mean nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_MESSAGES = 16_384
MOST_BLOCKS = 4_096
MOST_TOOLS = 1_024
MOST_STOP_SEQUENCES = 64

Effort = Literal["low", "medium", "high", "xhigh", "max"]


class AnthropicModel(BaseModel):
    """Base of these schemas."""

    model_config = ConfigDict(extra="ignore")


class TextPart(AnthropicModel):
    """A part of the system prompt or of a tool's result; only text is understood."""

    type: str
    text: str | None = None


class ContentBlock(AnthropicModel):
    """One block of a message. `type` says which of the other fields it has to carry."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | Annotated[list[TextPart], Field(max_length=MOST_BLOCKS)] | None = None
    is_error: bool | None = None
    source: dict[str, Any] | None = None


class InputMessage(AnthropicModel):
    """One turn of the conversation. Agents also put system messages between the turns."""

    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[ContentBlock], Field(max_length=MOST_BLOCKS)]


class Tool(AnthropicModel):
    """A tool of the client's. Those that Anthropic runs itself have a `type` and no input_schema."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(AnthropicModel):
    """Whether a tool is to be called; `name` belongs to type "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(AnthropicModel):
    """Reasoning before the answer. A budget is accepted, but no limit is set by it: max_tokens is the limit."""

    type: Literal["enabled", "adaptive", "disabled"]


class JsonFormat(AnthropicModel):
    """The form that the answer must have."""

    type: Literal["json_schema"]
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(AnthropicModel):
    """How hard to try, and the form of the answer."""

    effort: Effort | None = None
    format: JsonFormat | None = None


class CountTokensRequest(AnthropicModel):
    """Body of POST /v1/messages/count_tokens: all that decides how long the prompt is."""

    model: str
    messages: Annotated[list[InputMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    system: str | Annotated[list[TextPart], Field(max_length=MOST_BLOCKS)] | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None


class MessagesRequest(CountTokensRequest):
    """Body of POST /v1/messages."""

    max_tokens: int
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: Annotated[list[str], Field(max_length=MOST_STOP_SEQUENCES)] | None = None
