"""The clock that shows what rows would cost elsewhere."""

from __future__ import annotations

import pytest
import torch

from dspark_local.bench.conversations import Pair
from dspark_local.bench.paired_runs import measured_costs
from dspark_local.bench.speculation import BenchSettings, SpeculationBench, emulate_row_cost
from dspark_local.engine.emulation import EmulatedClock, RowCostTarget
from dspark_local.engine.generate import generate
from dspark_local.engine.session import Session
from dspark_local.engine.task import Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from dspark_models.protocols import Run
from tests.local.bench.timed_pair import DRAFT_SECONDS, PLAIN_SECONDS, PREFILL_SECONDS, PROMPTS, timed_pair


def emulated(pair: Pair, row_cost: float) -> tuple[RowCostTarget, EmulatedClock]:
    clock = EmulatedClock(pair.clock)
    return RowCostTarget(pair.target, clock, row_cost=row_cost, plain_seconds=PLAIN_SECONDS), clock


@pytest.mark.parametrize(("row_cost", "plain_passes"), [(0.0, 1.0), (0.5, 2.5), (10.0, 31.0)])
def test_a_pass_of_four_rows_costs_its_three_further_rows(row_cost: float, plain_passes: float) -> None:
    target, clock = emulated(timed_pair(slope=7.0), row_cost)
    sequence = target.new_sequence()
    began = clock()
    target.forward([Run(sequence, torch.tensor([1, 2, 3, 4]))])
    assert clock() - began == pytest.approx(plain_passes * PLAIN_SECONDS)


def test_rows_of_several_sequences_are_counted_together() -> None:
    target, clock = emulated(timed_pair(), 2.0)
    first, second = target.new_sequence(), target.new_sequence()
    began = clock()
    target.forward([Run(first, torch.tensor([1, 2])), Run(second, torch.tensor([3]))])
    assert clock() - began == pytest.approx(5 * PLAIN_SECONDS)


def test_a_prefill_pass_keeps_its_own_time() -> None:
    target, clock = emulated(timed_pair(), 10.0)
    sequence = target.new_sequence()
    began = clock()
    target.forward([Run(sequence, torch.tensor([1, 2, 3]), "last")])
    assert clock() - began == pytest.approx(PREFILL_SECONDS)


def test_what_runs_between_passes_keeps_its_own_time() -> None:
    pair = timed_pair()
    costs = measured_costs(emulate_row_cost(pair, 3.0))
    assert costs.draft_seconds(5) == pytest.approx(DRAFT_SECONDS)
    assert costs.verify_seconds(4) == pytest.approx(10 * PLAIN_SECONDS)


def test_a_real_clock_never_runs_backwards() -> None:
    clock = EmulatedClock()
    shown = [clock()]
    for seconds in (0.0, 5.0, 0.0, 1e-9):
        began = clock()
        sum(range(10_000))
        clock.rewrite(began, seconds)
        shown += [began, clock()]
    assert shown == sorted(shown)
    assert shown[-1] - shown[0] >= 5.0


def test_the_output_and_the_expert_store_are_those_of_the_target_itself() -> None:
    pair = timed_pair()
    target, clock = emulated(pair, 10.0)
    assert target.store is pair.target.store  # type: ignore[attr-defined]
    task = Task(PROMPTS[0], SamplingSettings(temperature=0.0, max_tokens=40))
    results = []
    for one in (pair.target, target):
        session = Session(one)
        done = list(generate(session, task, clock=clock))[-1]
        session.close()
        assert isinstance(done, Finished)
        results.append(done.token_ids)
    assert results[0] == results[1]


def test_a_negative_row_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="row_cost"):
        emulated(timed_pair(), -1.0)


def bench(row_cost: float, *, skill: int) -> SpeculationBench:
    settings = BenchSettings(runs=3, max_tokens=128, temperature=0.0, threshold=0.5)
    return SpeculationBench(emulate_row_cost(timed_pair(skill=skill), row_cost), settings)


def test_where_a_row_costs_ten_passes_the_scheduler_switches_itself_off() -> None:
    _, ways = next(bench(10.0, skill=95).domains({"all": PROMPTS}))
    figures = {way.name: way for way in ways}
    for name in ("scheduled", "ahead"):
        assert min(figures[name].ratios) >= 0.98
        assert figures[name].all_runs.verified_per_pass < 0.02
    assert figures["always 5"].ratio < 0.2
    assert figures["bound"].ratio == pytest.approx(1.0)


def test_where_rows_are_free_the_scheduler_verifies_what_there_is() -> None:
    _, ways = next(bench(0.0, skill=95).domains({"all": PROMPTS}))
    figures = {way.name: way for way in ways}
    for name in ("scheduled", "ahead"):
        way = figures[name]
        assert way.all_runs.verified_per_pass > 0.9 * 5
        # A round costs a plain pass and a draft, and brings the accepted length.
        reachable = way.all_runs.accepted_length * PLAIN_SECONDS / (PLAIN_SECONDS + DRAFT_SECONDS)
        assert way.ratio == pytest.approx(reachable, rel=0.05)
        assert way.ratio > 0.95 * figures["always 5"].ratio > 2.0
