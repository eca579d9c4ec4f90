"""What the benchmark of speculation says of a pair whose costs are known."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from dspark_local.bench.comparison import WayFigures
from dspark_local.bench.conversations import Conversations
from dspark_local.bench.paired_runs import costs_by_way, measured_costs, paired_runs
from dspark_local.bench.speculation import BenchSettings, SpeculationBench, report_object
from dspark_local.bench.table import LEGEND, comparison_table, costs_lines
from dspark_local.bench.ways import Way, ways_of
from dspark_local.engine.step_costs import StepCosts
from dspark_local.request import SamplingSettings
from tests.local.bench.timed_pair import (
    DRAFT_SECONDS,
    EXPERT_BYTES,
    PLAIN_SECONDS,
    PROMPTS,
    TimedTarget,
    timed_pair,
)

GREEDY = SamplingSettings(temperature=0.0, max_tokens=48)


def measured(
    *, slope: float = 0.1, skill: int = 90, runs: int = 2, temperature: float = 0.0
) -> tuple[list[WayFigures], StepCosts]:
    settings = BenchSettings(runs=runs, max_tokens=48, temperature=temperature, threshold=0.5)
    bench = SpeculationBench(timed_pair(slope=slope, skill=skill), settings)
    domain, ways = next(bench.domains({"numbers": PROMPTS}))
    assert domain == "numbers"
    return ways, bench.costs


def test_every_way_gives_the_tokens_of_plain_decoding() -> None:
    ways, _ = measured(skill=70)
    names = [way.name for way in ways]
    assert names == ["plain", *(f"always {k}" for k in range(1, 6)), "threshold 0.5", *names[-3:]]
    assert names[-3:] == ["scheduled", "ahead", "bound"]
    assert [way.differing for way in ways[:-1]] == [0] * 9


def test_plain_decoding_is_its_own_measure() -> None:
    plain = measured()[0][0]
    assert plain.ratios == (1.0, 1.0)
    assert plain.tokens_per_second == pytest.approx(1.0 / PLAIN_SECONDS)
    assert plain.all_runs.accepted_length == 1.0
    assert plain.all_runs.kept_share is None
    assert plain.all_runs.expert_bytes_per_token == EXPERT_BYTES


def test_a_fixed_number_of_drafts_costs_its_draft_and_its_rows() -> None:
    always_3 = measured()[0][3]
    whole = always_3.all_runs
    pass_seconds = DRAFT_SECONDS + PLAIN_SECONDS * (1.0 + 0.1 * whole.verified_per_pass)
    drafted_throughout = whole.accepted_length * PLAIN_SECONDS / pass_seconds
    assert 2.5 < whole.verified_per_pass <= 3.0
    assert always_3.ratio == pytest.approx(drafted_throughout, rel=0.01)  # the last round may have room for no draft
    rows = whole.passes + whole.verified
    assert whole.expert_bytes_per_token == pytest.approx(EXPERT_BYTES * rows / whole.tokens)


def test_nothing_is_faster_than_the_bound_but_text_that_is_looked_up() -> None:
    for slope in (0.05, 0.3, 0.8):
        ways, _ = measured(slope=slope, skill=80)
        bound = ways[-1].ratio
        assert all(way.ratio <= bound * 1.0001 for way in ways[:7])
        assert bound >= 1.0


def test_the_table_is_aligned_and_fits_80_columns() -> None:
    ways, costs = measured()
    text = comparison_table("numbers: 3 prompts, 2 runs", ways)
    head, *rows = text.splitlines()[1:]
    assert head.split() == ["way", "tok/s", "ratio", "range", "length", "verified", "kept", "bytes/token"]
    assert len(rows) == 10
    assert len({len(line) for line in rows}) == 1
    assert max(len(line) for line in [*text.splitlines(), *LEGEND.splitlines()]) <= 80
    assert "\x1b" not in text
    assert rows[0].split() == ["plain", "100.0", "1.00", "1.00–1.00", "1.00", "0.00", "–", "1", "kB"]
    assert rows[-1].startswith("bound")
    assert rows[-1].endswith("–")
    lines = costs_lines(costs, 5).splitlines()
    assert lines == [
        "a plain pass takes 10.0 ms, a draft 0.20 of it",
        "by rows  2: 1.10  3: 1.20  4: 1.30  5: 1.40  6: 1.50",
    ]


def test_a_single_run_has_no_range() -> None:
    ways, _ = measured(runs=1)
    assert comparison_table("once", ways).splitlines()[2].split()[3] == "–"


def test_json_holds_every_domain_way_and_run() -> None:
    ways, costs = measured()
    report = json.loads(json.dumps(report_object({"numbers": ways}, costs, {"model": {"id": "fake"}})))
    assert report["model"] == {"id": "fake"}
    assert report["costs"]["verify_seconds_by_rows"]["1"] == pytest.approx(PLAIN_SECONDS)
    way = report["domains"]["numbers"]["always 2"]
    assert len(way["runs"]) == 2
    assert sum(run["tokens"] for run in way["runs"]) == way["tokens"] == 2 * 3 * 47
    assert way["ratio"]["lowest"] <= way["ratio"]["median"] <= way["ratio"]["highest"]
    assert [name for name, row in report["domains"]["numbers"].items() if row["is_bound"]] == ["bound"]


def test_sampled_answers_are_not_compared_token_by_token() -> None:
    ways, _ = measured(temperature=1.0)
    assert all(way.differing is None for way in ways)


def test_answers_that_differ_are_told() -> None:
    ways, _ = measured()
    changed = WayFigures("ahead", ways[1].runs, ways[1].ratios, 2)
    assert "2 of ahead" in comparison_table("numbers", [ways[0], changed])


class OrderSpy(Conversations):
    """Notes who decodes when."""

    order: list[tuple[str, tuple[int, ...]]]

    def answer(self, way: Way, prompt: Sequence[int], sampling: SamplingSettings):  # type: ignore[no-untyped-def]
        self.order.append((way.name, tuple(prompt)))
        return super().answer(way, prompt, sampling)


def test_ways_take_turns_on_every_prompt_and_begin_elsewhere_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    OrderSpy.order = []
    monkeypatch.setattr("dspark_local.bench.paired_runs.Conversations", OrderSpy)
    pair, ways = timed_pair(), ways_of(5, 0.5)
    costs = costs_by_way(ways, measured_costs(pair))
    paired_runs(pair, PROMPTS, ways, costs, runs=2, sampling=GREEDY)
    order = OrderSpy.order[1:]  # the first answer counts for nobody
    turns = [order[start : start + len(ways)] for start in range(0, len(order), len(ways))]
    assert len(turns) == 6
    for turn, prompt in zip(turns, PROMPTS * 2, strict=True):
        assert sorted(name for name, _ in turn) == sorted(way.name for way in ways)
        assert {asked for _, asked in turn} == {prompt}
    assert len({turn[0][0] for turn in turns}) == 6


def test_ways_that_learn_do_not_learn_from_one_another() -> None:
    pair, ways = timed_pair(), ways_of(5, 0.5)
    costs = costs_by_way(ways, measured_costs(pair))
    assert sorted(costs) == ["ahead", "scheduled"]
    before = costs["ahead"].as_dict()
    costs["scheduled"].note_verify(1, 1.0)
    assert costs["ahead"].as_dict() == before
    scheduled = next(way for way in ways if way.name == "scheduled")
    with Conversations(pair, costs) as conversations:
        conversations.answer(scheduled, PROMPTS[0], GREEDY)
    assert costs["ahead"].as_dict() == before


def test_sequences_are_given_back() -> None:
    pair = timed_pair()
    assert isinstance(pair.target, TimedTarget)
    ways = ways_of(5, 0.5)
    costs = costs_by_way(ways, measured_costs(pair))
    paired_runs(pair, PROMPTS[:1], ways, costs, runs=1, sampling=GREEDY)
    assert not pair.target._caches
