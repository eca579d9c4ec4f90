"""Adaptive schedulers on curves made for tests."""

from __future__ import annotations

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.step_costs import StepCosts


def adaptive(block_size: int = 5, *, row: float = 0.05, draft: float = 0.05, ahead: bool = False) -> Adaptive:
    """`auto` where every further row costs `row` of a plain pass and a draft pass `draft` of one."""
    costs = StepCosts({rows: 1.0 + row * (rows - 1) for rows in range(1, 26)}, {1: draft})
    return Adaptive(costs, block_size, ahead=ahead)
