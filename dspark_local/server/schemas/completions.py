"""Body of POST /v1/completions, its answer, and the chunks of a streamed one (which have the same shape)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dspark_local.server.schemas.limits import JsonObject
from dspark_local.server.schemas.sampling import WireSampling
from dspark_local.wire import WireExtension, WireModel, WireUsage

MAX_PROMPT_TOKENS = 2_000_000
DEFAULT_MAX_TOKENS = 16

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[list[TokenId], Field(max_length=MAX_PROMPT_TOKENS)]


class WireCompletionRequest(WireSampling):
    """Body of POST /v1/completions. A list with one prompt counts as that prompt."""

    prompt: str | Tokens | Annotated[list[str | Tokens], Field(max_length=64)]
    max_tokens: int | None = DEFAULT_MAX_TOKENS
    logprobs: int | None = None
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None
    response_format: JsonObject | None = None


class WireCompletionLogprobs(WireModel):
    """One entry a token in each list. text_offset is where the token begins in the answer, in characters."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float] = Field(default_factory=list)
    top_logprobs: list[dict[str, float]] = Field(default_factory=list)
    text_offset: list[int] = Field(default_factory=list)


class WireCompletionChoice(WireModel):
    """The one choice; finish_reason is null until the last chunk, stop_reason as in chat."""

    index: int = 0
    text: str = ""
    logprobs: WireCompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | None = None


class WireCompletion(WireModel):
    """An answer, or a chunk of one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[WireCompletionChoice] = Field(default_factory=list)
    usage: WireUsage | None = None
    dspark: WireExtension | None = None

    def payload(self) -> dict[str, Any]:
        """The JSON object to send: absent fields left out, but those of a choice always present."""
        data = self.model_dump(exclude_none=True)
        for choice in data["choices"]:
            choice.setdefault("finish_reason", None)
            choice.setdefault("logprobs", None)
        return data
