"""Drives the real scheduler over a trace, with the costs of a profile and the noise of real passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.scheduling import RoundOutcome, verify_length
from dspark_local.engine.step_costs import StepCosts
from tests.local.engine.replay.profiles import Profile
from tests.local.engine.replay.traces import BLOCK, Trace

START_NOISE = 0.05
"""Error of every point of the curve that the start-up measurement hands over."""


class Replay(NamedTuple):
    """rate in tokens per second; the shares of rounds that drafted, and the mean drafts verified a round."""

    rate: float
    drafted: float
    verified: float


def replay(profile: Profile, trace: Trace, tokens: int, seed: int, *, ahead: bool = False) -> Replay:
    """An answer of `tokens` tokens. A round without a draft costs what plain decoding does."""
    rng = np.random.default_rng(seed)
    spread = np.sqrt(np.log1p(profile.step_cv**2))

    def took(ms: float) -> float:
        return float(ms * np.exp(rng.normal(-spread * spread / 2, spread)) / 1000)

    def measured(ms: float) -> float:
        return float(ms * np.exp(rng.normal(0.0, START_NOISE)) / 1000)

    points = (profile.plain_ms, *profile.verify_ms[1:])
    costs = StepCosts({rows: measured(ms) for rows, ms in enumerate(points, start=1)}, {1: measured(profile.draft_ms)})
    scheduler = Adaptive(costs, BLOCK, ahead=ahead)
    at, seconds, lengths, drafted = 0, 0.0, [], 0
    while at < tokens:
        source = scheduler.choose_source((), 0)
        confidences: Sequence[float] = trace.confidences[at].tolist() if source == "draft" else ()
        length = verify_length(scheduler, confidences, BLOCK)
        survivors = int(trace.accepted[at])
        kept = min(survivors, length)
        draft_seconds = took(profile.draft_ms) if source == "draft" else 0.0
        verify_seconds = took(profile.verify_ms[length] if source == "draft" else profile.plain_ms)
        costs.note_verify(length + 1, verify_seconds)
        if source == "draft":
            costs.note_draft(BLOCK, draft_seconds)
        scheduler.observe(
            RoundOutcome(
                source=source,
                confidences=tuple(confidences),
                own=len(confidences),
                verified=length,
                accepted=kept,
                tokens=kept + 1,
                agreed=length < survivors,
                draft_seconds=draft_seconds,
                verify_seconds=verify_seconds,
                rows=length + 1,
                sequences=1,
                context=0,
            )
        )
        at += kept + 1
        seconds += draft_seconds + verify_seconds
        lengths.append(length)
        drafted += source == "draft"
    return Replay(tokens / seconds, drafted / len(lengths), float(np.mean(lengths)))
