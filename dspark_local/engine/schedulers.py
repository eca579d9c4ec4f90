"""From what a request asks for to the scheduler that does it."""

from __future__ import annotations

from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.step_costs import StepCosts
from dspark_local.request import SpeculationSettings


def scheduler_for(settings: SpeculationSettings, costs: StepCosts | None, block_size: int) -> Scheduler:
    """A new scheduler. `auto` and `ahead` weigh `costs`, ValueError without; block_size is the draft's, or 0."""
    if settings.mode == "off":
        return Off()
    if settings.mode == "static":
        return Static(settings.draft_tokens)
    if settings.mode == "threshold":
        return Threshold(settings.threshold)
    if costs is None:
        raise ValueError(f"{settings.mode} needs to know what passes cost")
    return Adaptive(costs, block_size, ahead=settings.mode == "ahead")
