"""Placement, verdicts and what would change them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dspark_local.hub.peek import peek
from dspark_local.plan.machine import GIB, Machine
from dspark_local.plan.placement import place
from dspark_local.plan.plan import make_plan
from dspark_local.plan.source import find_source
from dspark_local.plan.suggestions import suggestions
from tests.local.plan.machines import CONTEXT, PROFILES, flash, machine

DESKTOP = PROFILES["RTX 4090"]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("context", [4096, CONTEXT, 2**20])
def test_every_byte_of_every_tier_is_accounted_for(name: str, context: int) -> None:
    computer = PROFILES[name]
    assert computer.card is not None
    placement = place(flash(), computer, context)
    held = placement.bytes_in("vram") + placement.card_reserve + placement.card_free
    assert held == computer.card.vram_bytes
    assert placement.bytes_in("ram") + placement.system_reserve + placement.ram_free == computer.ram_bytes
    weights = {"dense", "head", "draft", "embedding", "experts", "experts_pinned", "experts_pageable"}
    assert sum(part.nbytes for part in placement.parts if part.name in weights) == flash().total_bytes


def test_the_plan_of_the_demo_holds_what_the_loaded_demo_holds() -> None:
    from dspark_local.demo import weights_path
    from dspark_models import load_drafter, load_target

    source = find_source("demo", dtype="auto", on_card=False, resolver=peek)
    placement = place(source.facts, machine(ram=16, ram_rate=40), source.context)
    target = load_target(weights_path(), device="cpu")
    drafter = load_drafter(weights_path(), target)
    assert drafter is not None
    held = target.bytes_held() | drafter.bytes_held()
    planned = {part.name: part.nbytes for part in placement.of("ram")}
    workspace = planned.pop("workspace")
    assert held.pop("expanded") < workspace
    assert sum(planned.values()) == sum(held.values())
    assert source.facts.cache_parts(source.context) == {
        part: nbytes for part, nbytes in held.items() if "weights" not in part
    }


def test_more_context_takes_expert_slots_and_nothing_else() -> None:
    short, long = place(flash(), DESKTOP, CONTEXT), place(flash(), DESKTOP, 2**20)
    assert flash().experts is not None
    caches = [sum(flash().cache_parts(context).values()) for context in (CONTEXT, 2**20)]
    lost = (caches[1] - caches[0]) / flash().experts.nbytes
    assert short.card_slots - long.card_slots == pytest.approx(lost, abs=1)
    assert short.card_slots + short.ram_slots + short.disk_slots == long.card_slots + long.ram_slots + long.disk_slots


def test_memory_that_other_programs_hold_is_not_planned_with() -> None:
    busy = replace(DESKTOP, ram_free_bytes=DESKTOP.ram_bytes // 2)
    lost = place(flash(), DESKTOP, CONTEXT).ram_slots - place(flash(), busy, CONTEXT).ram_slots
    assert lost == pytest.approx((DESKTOP.ram_bytes // 2 - 8 * GIB) / 13_369_344, abs=1)
    assert DESKTOP.card is not None
    used = replace(DESKTOP, card=replace(DESKTOP.card, free_bytes=DESKTOP.card.vram_bytes - 3 * GIB))
    lost = place(flash(), DESKTOP, CONTEXT).card_slots - place(flash(), used, CONTEXT).card_slots
    assert lost == pytest.approx(3 * GIB / 13_369_344, abs=1)


def test_pinned_memory_stays_under_the_systems_limit_and_half_of_ram() -> None:
    assert DESKTOP.card is not None
    for limit, most in ((None, DESKTOP.ram_bytes // 2), (16 * GIB, 16 * GIB), (0, 0)):
        limited = replace(DESKTOP, card=replace(DESKTOP.card, pinned_limit_bytes=limit))
        parts = {part.name: part.nbytes for part in place(flash(), limited, CONTEXT).of("ram")}
        assert parts.get("experts_pinned", 0) == most


def test_a_plan_is_tight_when_the_disk_or_a_small_card_is_felt() -> None:
    assert make_plan(flash(), DESKTOP, CONTEXT).verdict == "fits"
    small = make_plan(flash(), PROFILES["RTX 3060"], CONTEXT)
    assert small.verdict == "tight"
    assert "disk" in small.reasons[0]
    assert "4.2 experts a layer" in small.reasons[1]


def test_what_is_lacking_is_what_would_have_been_enough() -> None:
    little = machine(vram=8, hbm=448, ram=64, ram_rate=43, link=25)
    plan = make_plan(flash(), little, CONTEXT)
    assert plan.verdict == "does_not_fit"

    def with_more(nbytes: int) -> Machine:
        assert little.card is not None
        size = little.card.vram_bytes + nbytes
        return replace(little, card=replace(little.card, vram_bytes=size, free_bytes=size))

    assert make_plan(flash(), with_more(plan.vram_short - 1), CONTEXT).verdict == "does_not_fit"
    assert make_plan(flash(), with_more(plan.vram_short), CONTEXT).verdict != "does_not_fit"


def test_a_context_that_does_not_fit_is_met_with_one_that_does() -> None:
    plan = make_plan(flash(), machine(vram=12, hbm=360, ram=64, ram_rate=43, link=25), 2**20)
    assert plan.verdict == "does_not_fit"
    (shorter,) = [change for change in suggestions(plan) if change.kind == "context"]
    assert shorter.verdict != "does_not_fit"
    assert shorter.title == "A context of 256k"
    assert -shorter.vram_bytes > plan.vram_short
    assert make_plan(flash(), plan.machine, 2**19).verdict == "does_not_fit"


def test_a_change_that_is_not_enough_is_not_suggested() -> None:
    plan = make_plan(flash(), machine(vram=4, hbm=192, ram=64, ram_rate=43, link=12), CONTEXT)
    assert plan.verdict == "does_not_fit"
    found = suggestions(plan)
    assert {change.kind for change in found} == {"no_card", "card"}
    assert all(change.verdict != "does_not_fit" for change in found)


def test_where_card_and_ram_both_lack_the_smallest_pair_that_fits_is_named() -> None:
    plan = make_plan(flash(), machine(vram=6, hbm=192, ram=4, ram_rate=43, link=12), CONTEXT)
    assert plan.vram_short > 0 < plan.ram_short
    (both,) = suggestions(plan)
    assert (both.kind, both.title) == ("card_and_ram", "8 GiB of RAM and a card of 12 GiB")


def test_a_server_without_a_card_is_told_what_one_would_bring() -> None:
    server = make_plan(flash(), machine(ram=256, ram_rate=100), CONTEXT)
    (card,) = [change for change in suggestions(server) if change.kind == "card"]
    assert card.chat > 1.5 * server.estimate.of("chat").speculated


def test_what_changes_nothing_is_not_suggested() -> None:
    resident = make_plan(flash(), machine(vram=192, hbm=8000, ram=256, ram_rate=200, link=50), CONTEXT)
    assert resident.estimate.hit_rate == 1.0
    assert {change.kind for change in suggestions(resident)} <= {"dense_4bit"}


def test_more_of_anything_never_makes_a_plan_slower() -> None:
    base = make_plan(flash(), PROFILES["RTX 3060"], CONTEXT).estimate
    card = PROFILES["RTX 3060"].card
    assert card is not None
    better = [
        replace(PROFILES["RTX 3060"], ram_rate=86e9),
        replace(PROFILES["RTX 3060"], disk_rate=12e9),
        PROFILES["RTX 3060"].with_ram(128 * GIB),
        replace(PROFILES["RTX 3060"], card=replace(card, memory_rate=720e9)),
        replace(PROFILES["RTX 3060"], card=replace(card, link_rate=50e9)),
        replace(PROFILES["RTX 3060"], card=replace(card, vram_bytes=24 * GIB, free_bytes=24 * GIB)),
    ]
    for computer in better:
        expected = make_plan(flash(), computer, CONTEXT).estimate
        assert expected.plain > base.plain
        assert expected.of("chat").speculated > base.of("chat").speculated


def test_the_previews_mtp_module_gains_less_than_dspark() -> None:
    server = PROFILES["RTX 5090 32 GB, EPYC"]
    mtp, dspark = (make_plan(flash(draft), server, CONTEXT).estimate.of("code") for draft in ("mtp", "dspark"))
    assert mtp.plain < mtp.speculated < dspark.speculated
