"""Every way decodes every prompt, run after run, so that whatever slows the machine down slows all of them.

Ways take turns prompt by prompt and start in another place each time. The first prompt is answered once, plainly,
before anything counts: it pays for what only the first answer pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dspark_local.bench.answers import Answer
from dspark_local.bench.conversations import Conversations, Pair
from dspark_local.bench.ways import Way
from dspark_local.engine.measure_costs import measure_costs
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.request import SamplingSettings

OnAnswer = Callable[[int, int], None]
"""(answers decoded, of so many)."""

RunAnswers = dict[str, list[Answer]]
"""One run's answers by the name of the way, in the order of the prompts."""


def paired_runs(
    pair: Pair,
    prompts: Sequence[Sequence[int]],
    ways: Sequence[Way],
    costs: Mapping[str, StepCosts],
    *,
    runs: int,
    sampling: SamplingSettings,
    on_answer: OnAnswer = lambda done, of: None,
) -> list[RunAnswers]:
    """The answers of every run to the prompts [token ids] of one domain.

    What a way learns in one run it knows in the next, as in a conversation that goes on. Sampled prompts are seeded by
    their number and the run, alike for all ways.
    """
    played: list[RunAnswers] = []
    done, of = 0, runs * len(prompts) * len(ways)
    with Conversations(pair, costs) as conversations:
        conversations.answer(ways[0], prompts[0], sampling)
        for run in range(runs):
            answers: RunAnswers = {way.name: [] for way in ways}
            for number, prompt in enumerate(prompts):
                seeded = replace(sampling, seed=run * len(prompts) + number)
                for way in _rotated(ways, run * len(prompts) + number):
                    answers[way.name].append(conversations.answer(way, prompt, seeded))
                    done += 1
                    on_answer(done, of)
            played.append(answers)
    return played


def measured_costs(pair: Pair) -> StepCosts:
    """What passes cost on this pair, by its clock."""
    session = Session(pair.target, pair.drafter)
    try:
        return measure_costs(session, clock=pair.clock)
    finally:
        session.close()


def costs_by_way(ways: Sequence[Way], measured: StepCosts) -> dict[str, StepCosts]:
    """A copy for each way that weighs costs, so that none learns from another's passes."""
    return {way.name: StepCosts.from_dict(measured.as_dict()) for way in ways if way.weighs_costs}


def _rotated(ways: Sequence[Way], by: int) -> list[Way]:
    start = by % len(ways)
    return [*ways[start:], *ways[:start]]
