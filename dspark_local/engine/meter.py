"""Counts and times of one answer."""

from __future__ import annotations

from collections.abc import Callable

from dspark_local.events import GenerationStats, SpeculationState

Clock = Callable[[], float]
"""Seconds, from any start."""


class Meter:
    """Collects what GenerationStats reports. Time counts from when it is made."""

    def __init__(self, prompt_tokens: int, context_length: int, clock: Clock) -> None:
        self.cached_tokens = 0
        self._prompt_tokens = prompt_tokens
        self._context_length = context_length
        self._clock = clock
        self._started = clock()
        self._first_token: float | None = None
        self._passes = 0
        self._drafted = 0
        self._verified: list[int] = []
        self._accepted: list[int] = []

    def first_token(self) -> None:
        """The prefill is over."""
        self._first_token = self._clock()

    def round(self, *, drafted: int, verified: int, accepted: int) -> None:
        """One target pass after the prefill."""
        self._passes += 1
        self._drafted += drafted
        for counts, number in ((self._verified, verified), (self._accepted, accepted)):
            counts.extend([0] * (verified - len(counts)))
            for position in range(number):
                counts[position] += 1

    def stats(self, completion_tokens: int, context_used: int, speculation: SpeculationState) -> GenerationStats:
        """Everything so far."""
        now = self._clock()
        first = self._first_token if self._first_token is not None else now
        return GenerationStats(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=completion_tokens,
            passes=self._passes,
            prefill_seconds=first - self._started,
            decode_seconds=now - first,
            drafted_tokens=self._drafted,
            verified_tokens=sum(self._verified),
            accepted_tokens=sum(self._accepted),
            verified_per_position=tuple(self._verified),
            accepted_per_position=tuple(self._accepted),
            context_used=context_used,
            context_length=self._context_length,
            speculation=speculation,
        )
