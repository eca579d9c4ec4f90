"""Dividing one pass among several requests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from dspark_local.engine.ahead import STEPS_AHEAD, AheadOfTime, WidthAhead
from dspark_local.engine.prefix_schedule import PrefixScheduler
from dspark_local.engine.scheduling import Slot, schedule_jointly
from dspark_local.engine.step_costs import StepCosts

BLOCKS = [[0.9, 0.8, 0.7], [0.5, 0.4, 0.3], [0.95, 0.2, 0.9]]


def prefixes(costs: StepCosts, sequences: int = 3, draft_seconds: float = 0.0) -> PrefixScheduler:
    return PrefixScheduler(costs, sequences=sequences, context=0, draft_seconds=draft_seconds)


def straight(row: float) -> StepCosts:
    return StepCosts({rows: 1.0 + row * (rows - 1) for rows in range(1, 40)})


def schedule(scheduler: PrefixScheduler, blocks: Sequence[Sequence[float]], limit: int = 9) -> list[int]:
    rows = len(blocks)
    return schedule_jointly(scheduler, blocks, [limit] * rows, rows=rows, tokens=float(rows))


@pytest.mark.parametrize("seed", range(30))
def test_on_a_curve_without_dips_algorithm_1_finds_the_best_of_all_divisions(seed: int) -> None:
    rng = random.Random(seed)
    blocks = [[rng.random() for _ in range(3)] for _ in range(3)]
    scheduler = prefixes(straight(rng.uniform(0.05, 0.6)), draft_seconds=rng.uniform(0.0, 0.5))

    def rate(lengths: Sequence[int]) -> float:
        tokens, rows = 3.0, 3 + sum(lengths)
        for block, length in zip(blocks, lengths, strict=True):
            survival = 1.0
            for confidence in block[:length]:
                survival *= confidence
                tokens += survival
        return scheduler.rate(tokens, rows)

    best = max(rate(lengths) for lengths in itertools.product(range(4), repeat=3))
    assert rate(schedule(scheduler, blocks)) == pytest.approx(best)


def test_rows_without_cost_are_all_verified_and_dear_ones_not_at_all() -> None:
    assert schedule(prefixes(straight(0.0)), BLOCKS) == [3, 3, 3]
    assert schedule(prefixes(straight(10.0)), BLOCKS) == [0, 0, 0]


def test_the_surest_drafts_of_all_requests_come_first_and_limits_hold() -> None:
    assert schedule(prefixes(straight(0.3)), BLOCKS) == [2, 0, 1]
    assert schedule(prefixes(straight(0.0)), BLOCKS, limit=2) == [2, 2, 2]


def test_it_stops_at_the_first_loss_even_if_a_later_gain_would_make_up_for_it() -> None:
    """The paper's counterexample: the second draft would pay, but only a look past the first would tell."""
    costs = StepCosts({1: 1.0, 2: 2.0, 3: 1.0 / 0.45})
    assert schedule(prefixes(costs, sequences=1), [[0.8, 0.9]]) == [0]


def test_no_confidence_is_shown_before_all_earlier_drafts_of_its_block_are_admitted() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching:
        def choose(self, frontier: Sequence[Slot], rows: int, tokens: float) -> Slot | None:
            seen.append(tuple(len(slot.confidences) for slot in frontier))
            return frontier[0] if rows < 5 else None

    admitted = schedule_jointly(Watching(), BLOCKS, [9, 9, 9], rows=3, tokens=3.0)
    assert admitted == [2, 0, 0]
    assert seen == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]


def test_a_step_ahead_of_time_takes_its_width_from_two_steps_before_and_ranks_by_what_is_new() -> None:
    ahead = AheadOfTime()
    widths = []
    for survival in (0.9, 0.1, 0.1, 0.9, 0.9):
        ahead.begin()
        admitted = schedule_jointly(ahead, BLOCKS, [9, 9, 9], rows=3, tokens=3.0)
        widths.append(sum(admitted))
        ahead.plan([[survival, survival]], prefixes(straight(0.5), sequences=1), rows=3)
    assert STEPS_AHEAD == 2
    assert widths == [0, 0, 2, 0, 0]


def test_a_single_requests_width_ahead_is_the_best_on_average_and_lags_two_blocks() -> None:
    width = WidthAhead(3)

    def seconds(rows: int) -> float:
        return 1.0 + 0.3 * (rows - 1)

    seen = []
    for _ in range(5):
        seen.append(width.current)
        width.note_block([0.9, 0.9, 0.2], rate=1.0, seconds=seconds)
    assert seen == [3, 3, 2, 2, 2]
