"""A response and its items, as POST /v1/responses answers them, whole or within the events of a stream."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dspark_local.wire import WireCachedTokens, WireExtension, WireModel, WireReasoningTokens, WireTokenLogprob

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class WireOutputText(WireModel):
    """Text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[Any] = Field(default_factory=list)
    logprobs: list[WireTokenLogprob] = Field(default_factory=list)


class WireReasoningText(WireModel):
    """Text of a reasoning."""

    type: Literal["reasoning_text"] = "reasoning_text"
    text: str = ""


class WireMessageItem(WireModel):
    """What the model says."""

    id: str
    type: Literal["message"] = "message"
    status: ItemStatus = "in_progress"
    role: Literal["assistant"] = "assistant"
    content: list[WireOutputText] = Field(default_factory=list)


class WireReasoningItem(WireModel):
    """What the model thinks. encrypted_content is opaque to clients; it lets one without the text send it back."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: ItemStatus = "in_progress"
    summary: list[Any] = Field(default_factory=list)
    content: list[WireReasoningText] = Field(default_factory=list)
    encrypted_content: str | None = None


class WireFunctionCallItem(WireModel):
    """A function the model calls; call_id is what its output refers to."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    arguments: str = ""


WireOutputItem = WireMessageItem | WireReasoningItem | WireFunctionCallItem


class WireInputDetails(WireCachedTokens):
    """Prompt tokens by where they came from."""

    cache_write_tokens: int = 0


class WireResponseUsage(WireModel):
    """Token counts in the shape of responses."""

    input_tokens: int
    input_tokens_details: WireInputDetails
    output_tokens: int
    output_tokens_details: WireReasoningTokens
    total_tokens: int


class WireResponseError(WireModel):
    """Why a response failed."""

    code: str = "server_error"
    message: str


class WireIncomplete(WireModel):
    """Why a response ended early."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class WireResponse(WireModel):
    """The response as it stands. Nothing is stored, whatever the request says."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"] = "in_progress"
    model: str
    output: list[WireOutputItem] = Field(default_factory=list)
    usage: WireResponseUsage | None = None
    error: WireResponseError | None = None
    incomplete_details: WireIncomplete | None = None
    instructions: str | None = None
    tools: list[dict[str, Any]] = Field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    temperature: float
    top_p: float
    top_logprobs: int = 0
    max_output_tokens: int | None = None
    text: dict[str, Any]
    reasoning: dict[str, Any]
    metadata: dict[str, Any] = Field(default_factory=dict)
    previous_response_id: None = None
    background: bool = False
    store: bool = False
    truncation: Literal["disabled"] = "disabled"
    dspark: WireExtension | None = None
