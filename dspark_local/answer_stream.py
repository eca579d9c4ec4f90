"""Reads a streamed answer: server-sent events, their chunks, and the events an engine yields. Knows no connection."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import httpx

from dspark_local.errors import ContextLengthError, DsparkError, EngineUnavailableError, OutOfMemoryError, UsageError
from dspark_local.events import (
    DraftSource,
    Finished,
    FinishReason,
    GenerationStats,
    PrefillProgress,
    SpeculationState,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.wire import WireChunk, WireError, WireErrorBody, WireRound, WireSpeculation, WireStats, WireUsage


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """One target pass as the wire tells it; see events.RoundDone.

    drafted, verified and accepted count draft tokens, context_used the sequence's tokens after the pass. speculation is
    None where the server does not say. texts are those of the tokens that the pass added, empty where it does not say.
    """

    drafted: int
    verified: int
    accepted: int
    context_used: int
    source: DraftSource = "draft"
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    speculation: SpeculationState | None = None
    copied: int = 0
    texts: tuple[str, ...] = ()


ClientEvent = PrefillProgress | TextDelta | ToolCallStarted | ToolArgumentsDelta | RoundSummary | Finished


@dataclass
class ChunkReader:
    """Turns the chunks of one stream into events and remembers what Finished needs.

    started is the monotonic time in seconds of the request: foreign servers send no times, so they are taken here.
    """

    started: float
    first_token: float | None = None
    reason: FinishReason = "stop"
    stop_string: str | None = None
    usage: WireUsage = field(default_factory=WireUsage)
    stats: WireStats | None = None

    def read(self, data: str) -> list[ClientEvent]:
        """Events of one `data:` line. Raises the error it carries, EngineUnavailableError when it is no chunk."""
        try:
            decoded = json.loads(data)
            if isinstance(decoded, dict) and "error" in decoded:
                raise error_of_wire(WireErrorBody.model_validate(decoded).error, 500)
            chunk = WireChunk.model_validate(decoded)
        except ValueError as error:  # pydantic's ValidationError is one too
            raise EngineUnavailableError("The server sent something that is no chat chunk.") from error
        if chunk.usage is not None:
            self.usage = chunk.usage
        events: list[ClientEvent] = []
        if chunk.dspark is not None:
            self.stats = chunk.dspark.stats or self.stats
            if (prefill := chunk.dspark.prefill) is not None:
                events.append(PrefillProgress(prefill.done, prefill.total, prefill.cached))
            if (figures := chunk.dspark.round) is not None:
                events.append(_round_summary(figures))
        if chunk.choices:
            choice = chunk.choices[0]
            self.reason = choice.finish_reason or self.reason
            if isinstance(choice.stop_reason, str):  # vLLM tells end tokens by their number
                self.stop_string = choice.stop_reason
            events += self._delta_events(chunk)
        return events

    def _delta_events(self, chunk: WireChunk) -> list[ClientEvent]:
        delta = chunk.choices[0].delta
        events: list[ClientEvent] = []
        if reasoning := delta.reasoning or delta.reasoning_content:
            events.append(TextDelta(reasoning, "reasoning"))
        if delta.content:
            events.append(TextDelta(delta.content))
        for call in delta.tool_calls or ():
            function = call.function
            if call.id is not None and function is not None and function.name:
                events.append(ToolCallStarted(call.index, call.id, function.name))
            if function is not None and function.arguments:
                events.append(ToolArgumentsDelta(call.index, function.arguments))
        if events and self.first_token is None:
            self.first_token = time.monotonic()
        return events

    def finished(self) -> Finished:
        """The last event: the server's figures, or what the client could see itself."""
        counts = GenerationStats(
            prompt_tokens=self.usage.prompt_tokens,
            cached_tokens=details.cached_tokens if (details := self.usage.prompt_tokens_details) else 0,
            completion_tokens=self.usage.completion_tokens,
            reasoning_tokens=split.reasoning_tokens if (split := self.usage.completion_tokens_details) else 0,
            **(self._measured() if self.stats is None else _told(self.stats)),
        )
        return Finished(self.reason, (), counts, self.stop_string)

    def _measured(self) -> dict[str, Any]:
        now = time.monotonic()
        first = self.first_token or now
        return {
            "prefill_seconds": first - self.started,
            "decode_seconds": now - first,
            "context_used": self.usage.total_tokens,
        }


def _round_summary(figures: WireRound) -> RoundSummary:
    return RoundSummary(
        figures.drafted,
        figures.verified,
        figures.accepted,
        figures.context_used,
        figures.source,
        figures.draft_seconds,
        figures.verify_seconds,
        _speculation(figures.speculation_state) if figures.speculation_state is not None else None,
        figures.copied or 0,
        tuple(figures.texts or ()),
    )


def _speculation(wire: WireSpeculation) -> SpeculationState:
    return SpeculationState(wire.phase, wire.verified, wire.block_size, wire.gain)


def _told(stats: WireStats) -> dict[str, Any]:
    return {
        "passes": stats.passes,
        "prefill_seconds": stats.time_to_first_token,
        "decode_seconds": stats.decode_seconds,
        "drafted_tokens": stats.drafted_tokens,
        "verified_tokens": stats.verified_tokens,
        "accepted_tokens": stats.accepted_tokens,
        "verified_per_position": tuple(stats.verified_per_position),
        "accepted_per_position": tuple(stats.accepted_per_position),
        "context_used": stats.context_used,
        "context_length": stats.context_length,
        "speculation": _speculation(stats.speculation_state or WireSpeculation()),
    }


async def sse_data(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of each server-sent event; comments and other fields are skipped."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines.clear()


def error_of_wire(wire: WireError, status: int) -> DsparkError:
    """The error that a server reports, as one of ours; status is the HTTP status it came with."""
    if wire.code == "context_length_exceeded" and wire.n_prompt_tokens is not None and wire.n_ctx is not None:
        return ContextLengthError(wire.n_prompt_tokens, wire.n_ctx)
    hint = wire.hint or ""
    message = wire.message.removesuffix(hint).rstrip() or "The server gave no reason."
    if status == 401:
        return EngineUnavailableError(
            "The server does not accept the API key.", hint="Set DSPARK_API_KEY to the key of that server."
        )
    if wire.code == OutOfMemoryError.code:
        return OutOfMemoryError(message, hint=hint, fitting_context=wire.fitting_context)
    kind: type[DsparkError] = UsageError if 400 <= status < 500 else DsparkError
    error = kind(message, hint=hint)
    error.code = wire.code or error.code
    return error
