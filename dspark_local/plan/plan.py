"""The plan: what lies where, whether that fits, how fast it will be, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspark_local.plan.cost_model import Estimate, estimate
from dspark_local.plan.engine_traits import BASELINE, EngineTraits
from dspark_local.plan.machine import Machine
from dspark_local.plan.model_facts import ModelFacts
from dspark_local.plan.placement import Placement, place
from dspark_local.sizes import format_gib

Verdict = Literal["fits", "tight", "does_not_fit"]
VERDICTS: tuple[Verdict, ...] = ("fits", "tight", "does_not_fit")
"""From best to worst."""

FEW_DISK_READS = 1.0
"""Experts read from disk for a token, from which on the disk is felt: one takes 2 to 4 ms."""
SLIM_MARGIN = 0.03
"""Share of a memory left over, under which a plan without expert slots to give way is tight."""


@dataclass(frozen=True, slots=True)
class Plan:
    """vram_short and ram_short are bytes that are lacking, 0 where it fits; reasons are sentences behind a verdict."""

    facts: ModelFacts
    machine: Machine
    context: int
    placement: Placement
    estimate: Estimate
    verdict: Verdict
    reasons: tuple[str, ...]
    vram_short: int
    ram_short: int


def make_plan(facts: ModelFacts, machine: Machine, context: int, *, traits: EngineTraits = BASELINE) -> Plan:
    """Plan one model on one machine at one context length, in tokens."""
    placement = place(facts, machine, context)
    expected = estimate(facts, machine, context, traits=traits)
    vram_short, ram_short = max(-placement.card_free, 0), max(-placement.ram_free, 0)
    lacking = _lacking(machine, vram_short, ram_short)
    reasons = lacking or _strains(facts, machine, placement, expected)
    verdict: Verdict = "does_not_fit" if lacking else "tight" if reasons else "fits"
    return Plan(facts, machine, context, placement, expected, verdict, tuple(reasons), vram_short, ram_short)


def _lacking(machine: Machine, vram_short: int, ram_short: int) -> list[str]:
    reasons = []
    if machine.card and vram_short:
        what = "The card lacks" if not ram_short else "The card alone lacks"
        reasons.append(f"{what} {format_gib(vram_short)} for what every token reads.")
    if ram_short:
        reasons.append(f"RAM lacks {format_gib(ram_short)}.")
    return reasons


def _strains(facts: ModelFacts, machine: Machine, placement: Placement, expected: Estimate) -> list[str]:
    """Why a plan that fits is still tight."""
    reasons = []
    experts = facts.experts
    if experts is None:
        left, whole = placement.ram_free, machine.ram_bytes
        if machine.card:
            left, whole = placement.card_free, machine.card.vram_bytes
        if left < SLIM_MARGIN * whole:
            reasons.append(f"Only {format_gib(left)} are left over.")
        return reasons
    if expected.disk_reads >= FEW_DISK_READS:
        reasons.append(f"About {expected.disk_reads:.0f} experts a token have to come from the disk.")
    if machine.card and placement.card_slots_per_block < experts.per_token:
        slots = placement.card_slots_per_block
        reasons.append(f"The card holds {slots:.1f} experts a layer; one token uses {experts.per_token}.")
    return reasons
