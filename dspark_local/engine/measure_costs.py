"""Measures what passes cost on this machine before the first answer, in a second or so.

Widths take turns, so that a machine that slows down for a moment slows all of them, and the least of each counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from dspark_local.engine.block_length import LONGEST_FACTOR
from dspark_local.engine.meter import Clock
from dspark_local.engine.session import Session, draft_together, verify_together
from dspark_local.engine.step_costs import StepCosts

CONTEXT_TOKENS = 32
BUDGET_SECONDS = 2.0
_LEAST_TURNS = 2
_MOST_TURNS = 7
_WIDE_ROWS = (9, 17, 25)
"""Beyond the draft's block: what long copies from the text are verified in. Measured fewer times."""


def measure_costs(session: Session, *, clock: Clock = time.perf_counter, budget: float = BUDGET_SECONDS) -> StepCosts:
    """Seconds of target passes of 1 .. block + 1 rows and wider ones, and of draft passes, on an empty session.

    Stops after about `budget` seconds, but not before every width had two turns; a model so slow that one pass of one
    row takes half of that is measured at its ends only, once. The session is empty again afterwards.
    """
    block = session.drafter.block_size if session.drafter is not None else 0
    most = min(session.target.rewind_span, session.target.context_length - CONTEXT_TOKENS - 1)
    narrow = [rows for rows in range(1, max(block, 1) + 2) if rows <= most]
    wide = [rows for rows in _WIDE_ROWS if narrow[-1] < rows <= most]
    # Which tokens run hardly matters, but one token again and again would flatter a router.
    filler = [(7 * i + 3) % session.target.vocab_size for i in range(CONTEXT_TOKENS + most)]
    session.append(filler[:CONTEXT_TOKENS], "none")
    verify: dict[int, list[float]] = {rows: [] for rows in (*narrow, *wide)}
    draft: dict[int, list[float]] = {slots: [] for slots in (block, LONGEST_FACTOR * block) if block}
    turns = _MOST_TURNS
    began = clock()
    _verify(session, filler[CONTEXT_TOKENS : CONTEXT_TOKENS + 1])
    session.settle(0)
    if clock() - began > budget / 2.0:
        verify = {rows: [] for rows in (1, narrow[-1])}
        narrow, wide, turns = list(verify), [], 1
    for turn in range(turns):
        if turn > _LEAST_TURNS and clock() - began > budget:
            break
        for rows in narrow if turn > _LEAST_TURNS else (*narrow, *wide):
            for slots, seconds in draft.items() if rows == narrow[-1] else ():
                seconds.append(_timed(clock, partial(_draft, session, filler, slots)))
            ids = filler[CONTEXT_TOKENS : CONTEXT_TOKENS + rows]
            verify[rows].append(_timed(clock, partial(_verify, session, ids)))
            session.settle(0)
    session.clear()
    return StepCosts(
        {rows: _least(seconds) for rows, seconds in verify.items()},
        {slots: _least(seconds) for slots, seconds in draft.items()},
    )


def _least(seconds: list[float]) -> float:
    """The least without the first, which warms caches and compilers up: what disturbs a pass only ever adds to it."""
    return max(min(seconds[1:] or seconds), 1e-9)


def _timed(clock: Clock, work: Callable[[], object]) -> float:
    began = clock()
    work()
    return clock() - began


def _verify(session: Session, ids: list[int]) -> None:
    verify_together([(session, ids)])[0].argmax(-1).tolist()  # what greedy acceptance reads; waits for a GPU


def _draft(session: Session, filler: list[int], slots: int) -> None:
    draft_together([(session, filler[-1], lambda slot, logits: (int(logits.argmax()), None), slots)])
