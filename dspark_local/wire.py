"""What travels between server and client: the OpenAI chat schema, plus one extension object named `dspark`.

Standard clients ignore the extension; ours reads it. Unknown request fields are ignored, known ones are checked.
Knows pydantic and the words of events: neither the engine nor HTTP.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dspark_local.events import DraftSource, SpeculationPhase

MAX_MESSAGES = 4096
MAX_STOP_STRINGS = 16

WireFinishReason = Literal["stop", "length", "tool_calls"]


class WireModel(BaseModel):
    """Base of all schemas: fields that are not known are ignored."""

    model_config = ConfigDict(extra="ignore")


# ---- request


class WireTextPart(WireModel):
    """A part of a message's content; only text is understood."""

    type: str
    text: str | None = None


class WireFunctionCall(WireModel):
    """A function's name and its arguments as a JSON string."""

    name: str = ""
    arguments: str = ""


class WireToolCall(WireModel):
    """A call the assistant made earlier."""

    id: str = ""
    type: Literal["function"] = "function"
    function: WireFunctionCall


class WireMessage(WireModel):
    """One message of the conversation. Reasoning is accepted under both of its common names."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[WireTextPart] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None


class WireStreamOptions(WireModel):
    """include_usage asks for one last chunk with token counts."""

    include_usage: bool = False


class WireTemplateOptions(WireModel):
    """The names that vLLM, SGLang and llama.cpp servers use for the thinking switch."""

    enable_thinking: bool | None = None
    thinking: bool | None = None
    reasoning_effort: str | None = None


class WireEngineOptions(WireModel):
    """Request side of the extension: which cached prefix may be reused, and how to speculate."""

    conversation_id: Annotated[str, Field(max_length=128)] | None = None
    speculation: Annotated[str, Field(max_length=64)] | None = None


class WireChatRequest(WireModel):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[WireMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    stream: bool = False
    stream_options: WireStreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOP_STRINGS)] | None = None
    n: int | None = None
    logprobs: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: WireTemplateOptions | None = None
    dspark: WireEngineOptions | None = None


# ---- extension object on answers


class WirePrefill(WireModel):
    """`done` of `total` prompt tokens are read, `cached` of them were known before."""

    done: int
    total: int
    cached: int = 0


class WireSpeculation(WireModel):
    """State of speculation as in events.SpeculationState; gain is absent until it has been measured."""

    phase: SpeculationPhase = "off"
    verified: float = 0.0
    block_size: int = 0
    gain: float | None = None


class WireRound(WireModel):
    """One target pass: draft tokens proposed, checked and kept, and the sequence's length after it.

    source says where the drafts came from; the seconds are those of drafting and of the rest of the round.
    """

    drafted: int
    verified: int
    accepted: int
    context_used: int
    source: DraftSource = "draft"
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    speculation_state: WireSpeculation | None = None


class WireStats(WireModel):
    """Figures of a finished answer; times in seconds, acceptance_per_position in 0..1 by place in the block.

    speculation is what was asked for, speculation_state how it fared.
    """

    passes: int = 0
    time_to_first_token: float = 0.0
    decode_seconds: float = 0.0
    tokens_per_second: float = 0.0
    accepted_length: float = 0.0
    drafted_tokens: int = 0
    verified_tokens: int = 0
    accepted_tokens: int = 0
    verified_per_position: list[int] = []
    accepted_per_position: list[int] = []
    acceptance_per_position: list[float] = []
    context_used: int = 0
    context_length: int = 0
    speculation: str = "auto"
    speculation_state: WireSpeculation | None = None


class WireExtension(WireModel):
    """At most one of the three a chunk."""

    prefill: WirePrefill | None = None
    round: WireRound | None = None
    stats: WireStats | None = None


# ---- answer


class WireCachedTokens(WireModel):
    """Prompt tokens that the cache already held."""

    cached_tokens: int = 0


class WireReasoningTokens(WireModel):
    """Tokens spent before the answer proper."""

    reasoning_tokens: int = 0


class WireUsage(WireModel):
    """Token counts in OpenAI's shape."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: WireCachedTokens | None = None
    completion_tokens_details: WireReasoningTokens | None = None


class WireFunctionDelta(WireModel):
    """A piece of a call: the name comes once, arguments in pieces."""

    name: str | None = None
    arguments: str | None = None


class WireToolCallDelta(WireModel):
    """A piece of call number `index`."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: WireFunctionDelta | None = None


class WireDelta(WireModel):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[WireToolCallDelta] | None = None


class WireChunkChoice(WireModel):
    """The one choice of a chunk."""

    index: int = 0
    delta: WireDelta
    finish_reason: WireFinishReason | None = None


class WireChunk(WireModel):
    """One server-sent event of a streamed answer."""

    id: str = ""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: list[WireChunkChoice] = []
    usage: WireUsage | None = None
    dspark: WireExtension | None = None

    def payload(self) -> dict[str, Any]:
        """The JSON object to send: absent fields left out, but finish_reason always present, as clients expect."""
        data = self.model_dump(exclude_none=True)
        for choice in data["choices"]:
            choice.setdefault("finish_reason", None)
        return data


class WireAnswerMessage(WireModel):
    """The whole message of an answer that was not streamed."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireAnswerChoice(WireModel):
    """The one choice of an answer."""

    index: int = 0
    message: WireAnswerMessage
    finish_reason: WireFinishReason


class WireAnswer(WireModel):
    """Body of an answer that was not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[WireAnswerChoice]
    usage: WireUsage
    dspark: WireExtension


# ---- the rest of the API


class WireModelFacts(WireModel):
    """Extension of a model entry: what a person wants to know of a loaded model."""

    context_length: int
    is_demo: bool = False
    draft_block_size: int = 0
    device: str = ""
    dtype: str = ""
    numerics: str = ""
    weight_bytes: int = 0
    recommended_temperature: float = 1.0
    recommended_top_p: float = 1.0


class WireModelEntry(WireModel):
    """One entry of GET /v1/models."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "dspark-local"
    dspark: WireModelFacts | None = None


class WireModelList(WireModel):
    """Body of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[WireModelEntry] = []


class WireLoading(WireModel):
    """How far loading is; bytes are 0 until the size is known."""

    stage: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class WireError(WireModel):
    """An error in OpenAI's shape; hint and the two lengths are extra."""

    message: str = ""
    type: str = "server_error"
    param: str | None = None
    code: str | None = None
    hint: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class WireErrorBody(WireModel):
    """Body of every answer that is an error, and of an error event within a stream."""

    error: WireError


class WireHealth(WireModel):
    """Body of GET /health. `progress` while loading, `error` after a failed load."""

    status: Literal["ok", "loading", "failed"]
    progress: WireLoading | None = None
    error: WireError | None = None
