"""A plan as one JSON object. Keys are stable; amounts are bytes, rates bytes a second, speeds tokens a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dspark_local.plan.engine_traits import ENGINE_NOTE
from dspark_local.plan.plan import Plan
from dspark_local.plan.suggestions import Suggestion


def plan_object(plan: Plan, suggested: Sequence[Suggestion], *, is_here: bool) -> dict[str, Any]:
    """What --json prints. speed is null where the plan does not fit."""
    placement, machine = plan.placement, plan.machine
    return {
        "model": plan.facts.name,
        "verdict": plan.verdict,
        "reasons": list(plan.reasons),
        "context": plan.context,
        "sequences": plan.facts.sequences,
        "lacking": {"vram": plan.vram_short, "ram": plan.ram_short},
        "placement": {
            tier: {part.name: part.nbytes for part in placement.of(tier)} for tier in ("vram", "ram", "disk")
        },
        "caches": plan.facts.cache_parts(plan.context),
        "reserve": {"vram": placement.card_reserve, "ram": placement.system_reserve},
        "left_over": {"vram": placement.card_free, "ram": placement.ram_free},
        "expert_slots": {
            "vram": placement.card_slots,
            "ram": placement.ram_slots,
            "disk": placement.disk_slots,
            "vram_per_layer": placement.card_slots_per_block,
        },
        "disk": {"needed": placement.disk_needed, "free": machine.disk_free_bytes, "is_here": is_here},
        "speed": None if plan.verdict == "does_not_fit" else _speed(plan),
        "changes": [_change(suggestion) for suggestion in suggested],
        "hardware": {
            "card": None
            if machine.card is None
            else {
                "name": machine.card.name,
                "vram": machine.card.vram_bytes,
                "vram_free": machine.card.free_bytes,
                "memory_rate": machine.card.memory_rate,
                "link_rate": machine.card.link_rate,
            },
            "ram": machine.ram_bytes,
            "ram_free": machine.ram_free_bytes,
            "ram_rate": machine.ram_rate,
            "disk_rate": machine.disk_rate,
            "assumed": list(machine.assumed),
            "notes": list(machine.notes),
        },
        "engine_note": ENGINE_NOTE,
    }


def _speed(plan: Plan) -> dict[str, Any]:
    expected = plan.estimate
    return {
        "uncertainty": expected.uncertainty,
        "card_hit_rate": expected.hit_rate,
        "disk_reads_per_token": expected.disk_reads,
        "plain": expected.plain,
        "speculated": {
            speed.workload: {"tokens_per_second": speed.speculated, "drafts": speed.drafts}
            for speed in expected.speeds
            if plan.facts.draft
        },
    }


def _change(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "kind": suggestion.kind,
        "title": suggestion.title,
        "verdict": suggestion.verdict,
        "vram": suggestion.vram_bytes,
        "ram": suggestion.ram_bytes,
        "plain": suggestion.plain,
        "chat": suggestion.chat,
    }
