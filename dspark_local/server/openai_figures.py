"""Counts, figures and the end of an answer, as OpenAI's clients and our extension object tell them."""

from __future__ import annotations

from dspark_local.errors import EngineUnavailableError
from dspark_local.events import Event, Finished, GenerationStats, PrefillProgress, RoundDone, SpeculationState
from dspark_local.request import ChatRequest, TokenRequest
from dspark_local.wire import (
    WireCachedTokens,
    WireExtension,
    WireFinishReason,
    WirePrefill,
    WireReasoningTokens,
    WireRound,
    WireSpeculation,
    WireStats,
    WireUsage,
)

DONE = b"data: [DONE]\n\n"
"""What ends a complete stream of chat or completions."""


def speculation_asked(request: ChatRequest | TokenRequest) -> str:
    """How this request speculates, in the words of SpeculationSettings.parse."""
    settings = request.speculation
    if settings.mode == "static":
        return f"static:{settings.draft_tokens}"
    return f"threshold:{settings.threshold:g}" if settings.mode == "threshold" else settings.mode


def usage_of(stats: GenerationStats) -> WireUsage:
    """Token counts in OpenAI's shape."""
    return WireUsage(
        prompt_tokens=stats.prompt_tokens,
        completion_tokens=stats.completion_tokens,
        total_tokens=stats.prompt_tokens + stats.completion_tokens,
        prompt_tokens_details=WireCachedTokens(cached_tokens=stats.cached_tokens),
        completion_tokens_details=WireReasoningTokens(reasoning_tokens=stats.reasoning_tokens),
    )


def stats_of(stats: GenerationStats, speculation: str) -> WireStats:
    """Figures of the answer for the extension object."""
    positions = zip(stats.accepted_per_position, stats.verified_per_position, strict=True)
    return WireStats(
        passes=stats.passes,
        time_to_first_token=stats.prefill_seconds,
        decode_seconds=stats.decode_seconds,
        tokens_per_second=stats.tokens_per_second,
        accepted_length=stats.accepted_length,
        drafted_tokens=stats.drafted_tokens,
        verified_tokens=stats.verified_tokens,
        accepted_tokens=stats.accepted_tokens,
        verified_per_position=list(stats.verified_per_position),
        accepted_per_position=list(stats.accepted_per_position),
        acceptance_per_position=[kept / checked if checked else 0.0 for kept, checked in positions],
        context_used=stats.context_used,
        context_length=stats.context_length,
        speculation=speculation,
        speculation_state=_speculation_state(stats.speculation),
    )


def _round(event: RoundDone, *, texts: bool) -> WireRound:
    """One target pass for the extension object, with the texts of its tokens for who asked."""
    return WireRound(
        drafted=len(event.draft_ids),
        verified=event.verified,
        accepted=event.accepted,
        context_used=event.context_used,
        source=event.source,
        draft_seconds=event.draft_seconds,
        verify_seconds=event.verify_seconds,
        speculation_state=_speculation_state(event.speculation),
        copied=event.copied or None,
        texts=list(event.texts) if texts else None,
    )


def progress_of(event: Event, *, texts: bool = False) -> WireExtension | None:
    """The extension object for an event that adds nothing to the answer itself; None for the others."""
    if isinstance(event, PrefillProgress):
        return WireExtension(prefill=WirePrefill(done=event.done, total=event.total, cached=event.cached))
    return WireExtension(round=_round(event, texts=texts)) if isinstance(event, RoundDone) else None


def _speculation_state(state: SpeculationState) -> WireSpeculation:
    return WireSpeculation(phase=state.phase, verified=state.verified, block_size=state.block_size, gain=state.gain)


def finish_reason(finished: Finished) -> WireFinishReason:
    """The reason in OpenAI's words. A client that still listens did not cancel: then the server is going down."""
    if finished.reason == "cancelled":
        raise EngineUnavailableError("The engine stopped before the answer was complete.")
    return finished.reason
