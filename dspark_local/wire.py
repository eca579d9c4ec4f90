"""What a client reads: the OpenAI schemas of streamed chats, models and errors, plus one extension object, `dspark`.

Standard clients ignore the extension; ours reads it. What only the server reads or writes is in server/schemas.
Knows pydantic and the words of events: neither the engine nor HTTP.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dspark_local.events import DraftSource, SpeculationPhase

WireFinishReason = Literal["stop", "length", "tool_calls"]


class WireModel(BaseModel):
    """Base of all schemas: fields that are not known are ignored."""

    model_config = ConfigDict(extra="ignore")


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

    source says where the drafts came from, copied how many of them, the last ones, were copied from the text; the
    seconds are those of drafting and of the rest of the round. texts, for who asks for it, is the text of each token
    that the pass added: the drafts that were kept, then the target's own.
    """

    drafted: int
    verified: int
    accepted: int
    context_used: int
    source: DraftSource = "draft"
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    speculation_state: WireSpeculation | None = None
    copied: int | None = None
    texts: list[str] | None = None


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


class WireTopLogprob(WireModel):
    """A token that could have come. bytes holds UTF-8, of which `token` shows what is whole."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class WireTokenLogprob(WireTopLogprob):
    """A token that came, and the most likely ones in its place."""

    top_logprobs: list[WireTopLogprob] = []


class WireLogprobs(WireModel):
    """Log-probabilities of the tokens of the content, in order."""

    content: list[WireTokenLogprob] | None = None


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
    """The one choice of a chunk. stop_reason is vLLM's name for the stop string that ended the answer."""

    index: int = 0
    delta: WireDelta
    logprobs: WireLogprobs | None = None
    finish_reason: WireFinishReason | None = None
    stop_reason: str | int | None = None


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
    """An error in OpenAI's shape; hint and the three lengths, in tokens, are extra."""

    message: str = ""
    type: str = "server_error"
    param: str | None = None
    code: str | None = None
    hint: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None
    fitting_context: int | None = None


class WireErrorBody(WireModel):
    """Body of every answer that is an error, and of an error event within a stream."""

    error: WireError


class WireHealth(WireModel):
    """Body of GET /health. `progress` while loading, `error` after a failed load."""

    status: Literal["ok", "loading", "failed"]
    progress: WireLoading | None = None
    error: WireError | None = None
