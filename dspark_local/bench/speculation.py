"""The benchmark of speculation from a loaded engine to a report, domain by domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspark_local.bench.comparison import WayFigures, compare
from dspark_local.bench.conversations import Pair
from dspark_local.bench.paired_runs import costs_by_way, measured_costs, paired_runs
from dspark_local.bench.ways import ways_of
from dspark_local.engine.emulation import EmulatedClock, RowCostTarget
from dspark_local.engine.step_costs import StepCosts
from dspark_local.request import SamplingSettings

OnProgress = Callable[[str, int, int], None]
"""(domain, answers decoded, of so many)."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is decoded how often; max_tokens of an answer, threshold of the way of that name."""

    runs: int
    max_tokens: int
    temperature: float
    threshold: float


class SpeculationBench:
    """Measures a pair. `costs` are those measured before the first answer, by the pair's clock."""

    def __init__(self, pair: Pair, settings: BenchSettings) -> None:
        self._pair = pair
        self._settings = settings
        self._ways = ways_of(pair.drafter.block_size, settings.threshold)
        self.costs = measured_costs(pair)
        self._costs = costs_by_way(self._ways, self.costs)

    def domains(
        self, prompts: Mapping[str, Sequence[Sequence[int]]], on_progress: OnProgress = lambda domain, done, of: None
    ) -> Iterator[tuple[str, list[WayFigures]]]:
        """Each domain when it is done; prompts are token ids by domain."""
        sampling = SamplingSettings(temperature=self._settings.temperature, max_tokens=self._settings.max_tokens)
        for domain, texts in prompts.items():

            def tell(done: int, of: int, domain: str = domain) -> None:
                on_progress(domain, done, of)

            runs = paired_runs(
                self._pair,
                texts,
                self._ways,
                self._costs,
                runs=self._settings.runs,
                sampling=sampling,
                on_answer=tell,
            )
            yield domain, compare(runs, self._pair.drafter.block_size, is_greedy=sampling.is_greedy)


def emulate_row_cost(pair: Pair, row_cost: float) -> Pair:
    """The pair on a machine where every further row of a pass costs `row_cost` plain passes, 0 or more."""
    clock = EmulatedClock(pair.clock)
    plain = measured_costs(pair).verify_seconds(1)
    target = RowCostTarget(pair.target, clock, row_cost=row_cost, plain_seconds=plain)
    return pair._replace(target=target, clock=clock)


def report_object(
    domains: Mapping[str, Sequence[WayFigures]], costs: StepCosts, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What --json prints: what was measured (`about`), the curve, and every domain's ways."""
    figures = {domain: {way.name: way.as_dict() for way in ways} for domain, ways in domains.items()}
    return {**about, "costs": costs.as_dict(), "domains": figures}
