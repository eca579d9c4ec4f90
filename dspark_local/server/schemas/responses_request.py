"""Body of POST /v1/responses. Items and tools of kinds that are not known here are read loosely, to be passed over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dspark_local.server.schemas.limits import MAX_CONTENT_PARTS, MAX_MESSAGES, MAX_TOOLS, JsonObject, Name
from dspark_local.server.schemas.sampling import WireSampling
from dspark_local.wire import WireModel


class WirePart(WireModel):
    """A part of an item's content: input_text, output_text, reasoning_text, summary_text, refusal."""

    type: Name = ""
    text: str | None = None
    refusal: str | None = None


Content = str | Annotated[list[WirePart], Field(max_length=MAX_CONTENT_PARTS)]


class WireInputItem(WireModel):
    """One item of the conversation; which fields count depends on type. Without a type it is a message."""

    type: Name = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content | None = None
    call_id: Name | None = None
    name: Name | None = None
    arguments: str | None = None
    output: Content | None = None
    summary: list[WirePart] | None = None
    encrypted_content: str | None = None


class WireTextOptions(WireModel):
    """The form of the answer, as in output_format_of."""

    format: JsonObject | None = None


class WireReasoningOptions(WireModel):
    """How hard to think."""

    effort: Name | None = None


class WireResponseRequest(WireSampling):
    """Body of POST /v1/responses."""

    input: str | Annotated[list[WireInputItem], Field(max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    top_logprobs: int | None = None
    tools: Annotated[list[JsonObject], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Name | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    text: WireTextOptions | None = None
    reasoning: WireReasoningOptions | None = None
    include: Annotated[list[Name], Field(max_length=32)] | None = None
    metadata: JsonObject | None = None
    previous_response_id: Name | None = None
    conversation: Any = None
    prompt: Any = None
    background: bool | None = None
