"""Computers and models for the planner's tests."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from dspark_local.plan.machine import GIB, Card, Machine
from dspark_local.plan.model_facts import ModelFacts
from dspark_local.plan.v4_facts import planned_numerics, v4_facts

CONTEXT = 32 * 1024


@cache
def flash(draft: str = "dspark") -> ModelFacts:
    """DeepSeek-V4-Flash, with its DSpark draft or the preview's MTP module."""
    name = "deepseek-v4-flash-dspark" if draft == "dspark" else "deepseek-v4-flash"
    raw = json.loads((files("dspark_local.catalog") / "configs" / f"{name}.json").read_text())
    return v4_facts(name, raw, "dspark" if draft == "dspark" else "mtp", planned_numerics("auto", on_card=True))


def machine(
    *,
    vram: float = 0,
    hbm: float = 0,
    ram: float,
    ram_rate: float,
    link: float = 0,
    disk: float = 6,
) -> Machine:
    """GiB and GB/s; vram 0 for no card."""
    size = int(vram * GIB)
    card = Card("card", size, size, hbm * 1e9, link * 1e9) if vram else None
    return Machine(card, int(ram * GIB), int(ram * GIB), ram_rate * 1e9, disk * 1e9)


PROFILES = {
    "RTX 3060": machine(vram=12, hbm=360, ram=64, ram_rate=43, link=25),
    "RTX 3090": machine(vram=24, hbm=936, ram=128, ram_rate=43, link=25.5),
    "RTX 4090": machine(vram=24, hbm=1008, ram=128, ram_rate=72, link=26),
    "RTX 5090 32 GB, 192": machine(vram=31.8, hbm=1792, ram=192, ram_rate=78, link=50, disk=10),
    "RTX 5090 32 GB, EPYC": machine(vram=31.8, hbm=1792, ram=251, ram_rate=146, link=26.1),
    "RTX 2080": machine(vram=11, hbm=616, ram=64, ram_rate=43, link=12.3, disk=3.5),
    "H200": machine(vram=139, hbm=4800, ram=128, ram_rate=200, link=50),
    "Laptop": machine(vram=12, hbm=432, ram=64, ram_rate=70, link=12.5),
}
"""The computers of tests/golden/offload_profiles.json, by the start of their names there."""
