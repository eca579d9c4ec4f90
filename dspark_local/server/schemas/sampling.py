"""The fields that every OpenAI request shares: model, sampling, stop strings, streaming, and our extension."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dspark_local.server.schemas.limits import MAX_LOGIT_BIASES, MAX_STOP_STRINGS, Name, Seed, StopString
from dspark_local.wire import WireModel


class WireStreamOptions(WireModel):
    """include_usage asks for one last chunk with token counts."""

    include_usage: bool = False


class WireEngineOptions(WireModel):
    """Request side of the extension: which cached prefix may be reused, and how to speculate.

    token_texts asks a streamed chat for the text of every token, pass by pass.
    """

    conversation_id: Annotated[str, Field(max_length=128)] | None = None
    speculation: Annotated[str, Field(max_length=64)] | None = None
    token_texts: bool = False


class WireSampling(WireModel):
    """What is left out takes the model's recommendation. Keys of logit_bias are token ids written as strings."""

    model: Name | None = None
    stream: bool = False
    stream_options: WireStreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Seed | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=MAX_STOP_STRINGS)] | None = None
    logit_bias: Annotated[dict[int, float], Field(max_length=MAX_LOGIT_BIASES)] | None = None
    n: int | None = None
    dspark: WireEngineOptions | None = None
