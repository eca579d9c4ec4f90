"""Live figures of the answer under way, from the events of the stream. Knows no widget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.events import Finished, PrefillProgress, SpeculationState, TextDelta, ToolCallStarted

Phase = Literal["idle", "waiting", "reading", "thinking", "answering"]


@dataclass
class LiveMeter:
    """Figures shown while an answer streams and after it; `clock` gives seconds.

    tokens and passes count since the first token. A server that reports no passes leaves them at 0 until it ends.
    first_token_seconds counts from the sending of the request. speculation is None until a server tells; like the
    context figure it stays from answer to answer.
    """

    clock: Callable[[], float] = time.monotonic
    phase: Phase = "idle"
    phase_started: float = 0.0
    prefill: tuple[int, int] = (0, 0)
    passes: int = 0
    tokens: int = 0
    context_used: int = 0
    tokens_per_second: float = 0.0
    accepted_length: float = 0.0
    thinking_seconds: float | None = None
    first_token_seconds: float | None = None
    speculation: SpeculationState | None = None
    _first_token_at: float | None = field(default=None, repr=False)
    _begun_at: float = field(default=0.0, repr=False)

    def begin(self) -> None:
        """A request has been sent; the context figure of the turn before stays until a new one comes."""
        self.passes = self.tokens = 0
        self.prefill = (0, 0)
        self.tokens_per_second = self.accepted_length = 0.0
        self.thinking_seconds = self.first_token_seconds = self._first_token_at = None
        self._begun_at = self.clock()
        self._enter("waiting")

    def take(self, event: ClientEvent) -> None:
        """Take in the next event."""
        match event:
            case PrefillProgress(done, total, _):
                self.prefill = (done, total)
                if self.phase != "reading":
                    self._enter("reading")
            case TextDelta(_, "reasoning"):
                self._note_text("thinking")
            case TextDelta() | ToolCallStarted():
                self._note_text("answering")
            case RoundSummary():
                self._count(event)
            case Finished():
                self._close(event)
            case _:
                pass

    def end(self) -> None:
        """The answer is over, however it ended."""
        if self.phase == "thinking":
            self.thinking_seconds = self.phase_seconds
        self._enter("idle")

    @property
    def phase_seconds(self) -> float:
        """Seconds since the phase began."""
        return self.clock() - self.phase_started

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.phase_started = self.clock()

    def _note_text(self, phase: Phase) -> None:
        if self._first_token_at is None:
            self._first_token_at = self.clock()
            self.first_token_seconds = self._first_token_at - self._begun_at
        if self.phase != phase:
            if self.phase == "thinking":
                self.thinking_seconds = self.phase_seconds
            self._enter(phase)

    def _count(self, done: RoundSummary) -> None:
        self.passes += 1
        self.tokens += done.accepted + 1  # the target's own token comes with those it kept
        self.context_used = done.context_used
        self.accepted_length = self.tokens / self.passes
        self.speculation = done.speculation or self.speculation
        if self._first_token_at is not None and (elapsed := self.clock() - self._first_token_at) > 0.2:
            self.tokens_per_second = self.tokens / elapsed

    def _close(self, finished: Finished) -> None:
        stats = finished.stats
        self.tokens = stats.completion_tokens or self.tokens
        self.context_used = stats.context_used or self.context_used
        self.accepted_length = stats.accepted_length or self.accepted_length
        self.tokens_per_second = stats.tokens_per_second or self.tokens_per_second
