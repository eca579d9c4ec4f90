"""The closed form against a simulation of expert off-loading on eight computers, and machines beyond those.

Slots, shares and speeds of the table were simulated token by token (tests/golden/offload_profiles.json says how); the
planner's arithmetic shares constants with that simulation, but not its traces, caches or policies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from dspark_local.plan.cost_model import estimate
from dspark_local.plan.engine_traits import BASELINE, TUNED, EngineTraits
from dspark_local.plan.placement import place
from dspark_local.plan.plan import make_plan
from dspark_local.plan.suggestions import suggestions
from tests.local.plan.machines import CONTEXT, PROFILES, flash, machine

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "offload_profiles.json"
ENGINES = {"baseline": BASELINE, "target": TUNED}
WORKLOADS = ("chat", "code", "math")
EXPERTS = (43 + 3) * 256


class Row(NamedTuple):
    """slots without and with a draft, percent of experts that RAM could hold and that stay on disk; tokens/s of the
    best schedule on chat, code and math, of both engines."""

    slots: tuple[int, int]
    ram: float
    disk: float
    baseline: tuple[float, float, float]
    target: tuple[float, float, float]


SIMULATED = {
    "RTX 3060": Row((235, 195), 38.1, 60.2, (7.95, 10.30, 10.67), (11.42, 14.51, 15.21)),
    "RTX 3090": Row((1151, 1111), 80.7, 9.9, (13.89, 16.97, 17.77), (18.34, 21.46, 22.02)),
    "RTX 4090": Row((1151, 1111), 80.7, 9.9, (21.19, 26.58, 27.85), (27.48, 33.12, 34.73)),
    "RTX 5090 32 GB, 192": Row((1746, 1706), 100.0, 0.0, (27.76, 34.80, 36.51), (40.17, 47.41, 49.34)),
    "RTX 5090 32 GB, EPYC": Row((1746, 1706), 100.0, 0.0, (42.97, 56.12, 60.30), (57.86, 73.44, 77.50)),
    "RTX 2080": Row((159, 119), 38.1, 60.9, (5.87, 7.23, 7.54), (9.01, 11.51, 11.94)),
    "H200": Row((9925, 9885), 69.9, 0.0, (164.15, 234.46, 250.87), (264.75, 377.17, 405.00)),
    "Laptop": Row((235, 195), 38.1, 60.2, (9.33, 11.79, 12.23), (14.50, 18.93, 19.56)),
}


def plain_ms(name: str, engine: str) -> float:
    profiles = json.loads(GOLDEN.read_text())["profiles"]
    (found,) = [p["plain_ms"] for p in profiles if p["name"].startswith(name) and p["engine"] == engine]
    return float(found)


@pytest.mark.parametrize("name", PROFILES)
def test_expert_slots_are_those_of_the_simulation(name: str) -> None:
    for facts, slots in zip((flash().without_draft(), flash()), SIMULATED[name].slots, strict=True):
        assert place(facts, PROFILES[name], CONTEXT).card_slots == pytest.approx(slots, rel=0.05)


@pytest.mark.parametrize("name", PROFILES)
def test_what_stays_on_the_disk_is_what_card_and_ram_leave(name: str) -> None:
    placement, row = place(flash(), PROFILES[name], CONTEXT), SIMULATED[name]
    assert placement.card_slots + placement.ram_slots + placement.disk_slots == EXPERTS
    assert 100 * placement.disk_slots / EXPERTS == pytest.approx(row.disk, abs=1.0)
    if placement.disk_slots:
        assert 100 * placement.ram_slots / EXPERTS == pytest.approx(row.ram, abs=1.0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PROFILES)
def test_plain_decoding_is_within_a_twentieth_of_the_simulation(name: str, engine: str) -> None:
    rate = estimate(flash(), PROFILES[name], CONTEXT, traits=ENGINES[engine]).plain
    assert 1000 / rate == pytest.approx(plain_ms(name, engine), rel=0.05)


@pytest.mark.parametrize(("engine", "tolerance"), [("baseline", 0.10), ("target", 0.16)])
@pytest.mark.parametrize("name", PROFILES)
def test_the_best_of_speculation_is_near_the_simulation(name: str, engine: str, tolerance: float) -> None:
    expected = estimate(flash(), PROFILES[name], CONTEXT, traits=ENGINES[engine])
    for workload, rate in zip(WORKLOADS, getattr(SIMULATED[name], engine), strict=True):
        assert expected.of(workload).speculated == pytest.approx(rate, rel=tolerance)


@pytest.mark.parametrize("traits", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("name", PROFILES)
def test_speculation_never_costs_and_pays_most_where_the_text_is_easy(name: str, traits: EngineTraits) -> None:
    expected = estimate(flash(), PROFILES[name], CONTEXT, traits=traits)
    chat, code, math = (expected.of(workload) for workload in WORKLOADS)
    assert chat.plain <= chat.speculated <= code.speculated <= math.speculated
    assert all((speed.drafts == 0) == (speed.speculated == speed.plain) for speed in expected.speeds)


def test_on_two_memory_channels_chat_gains_least_and_a_resident_model_gains_most() -> None:
    gains = {
        name: speed.speculated / speed.plain
        for name in PROFILES
        for speed in [estimate(flash(), PROFILES[name], CONTEXT, traits=TUNED).of("chat")]
    }
    assert gains["RTX 3090"] < 1.05
    assert max(gains, key=lambda name: gains[name]) == "H200"
    assert gains["H200"] > 1.8


def test_the_server_that_the_model_was_calibrated_on_gets_the_narrower_range() -> None:
    ranges = {name: estimate(flash(), PROFILES[name], CONTEXT).uncertainty for name in PROFILES}
    assert ranges["RTX 5090 32 GB, EPYC"] == 0.20
    assert ranges["RTX 4090"] == 0.35


def test_a_6_gib_laptop_is_told_what_lacks_and_what_helps() -> None:
    laptop = machine(vram=6, hbm=336, ram=32, ram_rate=50, link=12.75, disk=3.5)
    plan = make_plan(flash(), laptop, CONTEXT)
    assert plan.verdict == "does_not_fit"
    assert 3 * 2**30 < plan.vram_short < 4 * 2**30
    assert plan.ram_short == 0
    helping = {change.kind: change for change in suggestions(plan)}
    assert {"dense_4bit", "no_card", "card"} <= helping.keys()
    assert all(change.verdict != "does_not_fit" for change in helping.values())
    assert -helping["dense_4bit"].vram_bytes > plan.vram_short
    # Less context and no draft save less than what lacks, so neither is worth a line.
    assert not {"context", "draft"} & helping.keys()


def test_without_a_card_everything_lies_in_ram_and_on_disk() -> None:
    plan = make_plan(flash(), machine(ram=64, ram_rate=43), CONTEXT)
    assert plan.verdict == "tight"
    assert plan.placement.of("vram") == ()
    assert plan.placement.card_reserve == plan.vram_short == plan.placement.card_slots == 0
    assert plan.placement.disk_slots > 0
    assert 1 < plan.estimate.plain < estimate(flash(), PROFILES["RTX 3060"], CONTEXT).plain
    held = plan.placement.bytes_in("ram") + plan.placement.system_reserve + plan.placement.ram_free
    assert held == 64 * 2**30


def test_a_server_without_a_card_fits_and_reads_no_disk() -> None:
    plan = make_plan(flash(), machine(ram=256, ram_rate=200), CONTEXT)
    assert plan.verdict == "fits"
    assert plan.placement.disk_slots == 0
    assert plan.estimate.disk_reads == 0


def test_8_gib_of_ram_are_too_little_for_flash() -> None:
    plan = make_plan(flash(), machine(ram=8, ram_rate=30), CONTEXT)
    assert plan.verdict == "does_not_fit"
    assert plan.ram_short > 0
    assert "RAM lacks" in " ".join(plan.reasons)
