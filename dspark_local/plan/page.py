"""A plan as one screen of 80 columns: the verdict, what lies where, the expected speed, what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dspark_local.plan.cost_model import Speed
from dspark_local.plan.engine_traits import ENGINE_NOTE, NO_ENGINE_NOTE
from dspark_local.plan.machine import Machine
from dspark_local.plan.placement import Tier
from dspark_local.plan.plan import Plan, Verdict
from dspark_local.plan.suggestions import Suggestion
from dspark_local.sizes import format_bytes, format_gib, format_tokens

if TYPE_CHECKING:
    from rich.console import RenderableType

VERDICT_WORDS: dict[Verdict, str] = {"fits": "fits", "tight": "tight", "does_not_fit": "does not fit"}
_STYLES: dict[Verdict, str] = {"fits": "bold green", "tight": "bold yellow", "does_not_fit": "bold red"}
WORTH_SAYING = 2**25
"""Bytes that a change has to save to be told: 32 MiB."""
_TIERS: dict[Tier, str] = {"vram": "card", "ram": "RAM", "disk": "disk"}
_PARTS = {
    "dense": "dense layers",
    "head": "output head",
    "draft": "draft, without its experts",
    "caches": "caches of {context} tokens",
    "workspace": "workspace",
    "embedding": "embedding and lookup tables",
    "experts": "experts",
    "experts_pinned": "experts the card may copy (pinned)",
    "experts_pageable": "experts for the CPU (pageable)",
}


def page(plan: Plan, suggested: Sequence[Suggestion], *, is_here: bool, runs: bool = True) -> Iterator[RenderableType]:
    """Everything to show, in order. `runs` tells whether this version's engine runs the model."""
    from rich.text import Text

    yield _headline(plan)
    for reason in plan.reasons:
        yield Text(f"  {reason}")
    yield Text()
    yield from _places(plan)
    yield Text()
    yield from _speeds(plan)
    if suggested:
        yield Text()
        yield from _changes(plan, suggested)
    yield Text()
    for remark in remarks(plan, is_here=is_here, runs=runs):
        yield Text(remark, style="dim")


def summary(plan: Plan) -> str:
    """The verdict with its reasons and the expected speed, in a few sentences without markup."""
    words = VERDICT_WORDS[plan.verdict]
    line = f"{words[0].upper()}{words[1:]}: {plan.facts.name} on {machine_title(plan.machine)}."
    if plan.verdict == "does_not_fit":
        return " ".join([line, *plan.reasons])
    speed = plan.estimate.of("chat").speculated
    return " ".join([line, *plan.reasons, f"About {speed:.2g} tokens/s of chat are to be expected.", ENGINE_NOTE])


def machine_title(machine: Machine) -> str:
    """`RTX 4090 (24 GiB), 128 GiB of RAM`."""
    ram = f"{machine.ram_bytes / 2**30:.4g} GiB of RAM"
    if machine.card is None:
        return f"no card, {ram}"
    size = f"{machine.card.vram_bytes / 2**30:.4g} GiB"
    return f"{machine.card.name} ({size}), {ram}" if machine.card.name else f"a card of {size}, {ram}"


def remarks(plan: Plan, *, is_here: bool, runs: bool = True) -> list[str]:
    """What a reader should know of the figures."""
    machine = plan.machine
    found = [ENGINE_NOTE if runs else NO_ENGINE_NOTE, *machine.notes]
    if machine.assumed:
        found.append(f"Assumed, not measured: {', '.join(machine.assumed)}.")
    needed, free = plan.placement.disk_needed, machine.disk_free_bytes
    if not is_here:
        line = f"The files take {format_bytes(needed)} on the disk"
        if free is not None:
            line += f", where {format_bytes(free)} are free"
            line += "" if free >= needed else f": {format_bytes(needed - free)} too few"
        found.append(f"{line}.")
    return found


def _headline(plan: Plan) -> RenderableType:
    from rich.text import Text

    words = VERDICT_WORDS[plan.verdict]
    line = Text.assemble((words[0].upper() + words[1:], _STYLES[plan.verdict]))
    return line.append(f": {plan.facts.name} on {machine_title(plan.machine)}")


def _places(plan: Plan) -> Iterator[RenderableType]:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(width=6)
    table.add_column(width=46)
    table.add_column(justify="right", width=12)
    for tier in _TIERS:
        rows = list(_rows(plan, tier))
        for place, (what, nbytes) in enumerate(rows):
            table.add_row(f"  {_TIERS[tier]}" if place == 0 else "", what, format_gib(nbytes))
    yield table


def _rows(plan: Plan, tier: Tier) -> Iterator[tuple[str, int]]:
    placement, experts = plan.placement, plan.facts.experts
    for part in placement.of(tier):
        what = _PARTS[part.name].format(context=format_tokens(plan.context))
        if part.name == "caches" and plan.facts.sequences > 1:
            what = f"{plan.facts.sequences} {what}"
        if part.name == "draft" and plan.facts.draft and plan.facts.draft.experts is None:
            what = "draft"
        if part.name == "experts_pageable" and plan.machine.card is None:
            what = "experts (page cache)"
        if part.name == "experts" and tier == "vram" and experts:
            what = f"experts, {placement.card_slots_per_block:.1f} of {experts.count} a layer"
        yield what, part.nbytes
    if tier == "vram" and plan.machine.card:
        yield "reserve for the driver", placement.card_reserve
        yield ("left over" if placement.card_free >= 0 else "LACKING"), abs(placement.card_free)
    if tier == "ram":
        yield "reserve for the system", placement.system_reserve
        yield ("left over" if placement.ram_free >= 0 else "LACKING"), abs(placement.ram_free)


def _speeds(plan: Plan) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    expected = plan.estimate
    if plan.verdict == "does_not_fit":
        yield Text("No speed to expect: it does not fit.")
        return
    table = Table.grid(padding=(0, 2))
    for width in (10, 22, 22, 18):
        table.add_column(width=width)
    table.add_row("  tokens/s", "without drafts", "with drafts" if plan.facts.draft else "", "")
    for speed in expected.speeds if plan.facts.draft else expected.speeds[:1]:
        cells = [f"  {speed.workload if plan.facts.draft else ''}", _range(speed.plain, expected.uncertainty)]
        if plan.facts.draft:
            cells += [_range(speed.speculated, expected.uncertainty), _gain(speed)]
        table.add_row(*cells)
    yield Text(f"Expected speed, give or take {100 * expected.uncertainty:.0f} %", style="bold")
    yield table


def _range(rate: float, uncertainty: float) -> str:
    low, high = rate * (1 - uncertainty), rate * (1 + uncertainty)
    return f"{_rate(rate)} ({_rate(low)} to {_rate(high)})"


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 20 else f"{rate:.1f}"


def _gain(speed: Speed) -> str:
    if not speed.drafts:
        return "drafts do not pay"
    return f"{speed.speculated / speed.plain:.2f}x, {speed.drafts} draft{'' if speed.drafts == 1 else 's'}"


def _changes(plan: Plan, suggested: Sequence[Suggestion]) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    yield Text("What would change it", style="bold")
    table = Table.grid(padding=(0, 2))
    for width in (38, 12, 26):
        table.add_column(width=width)
    before = plan.estimate
    chat = "chat " if plan.facts.draft else ""
    for change in suggested:
        speed = f"{chat}{_rate(change.chat)} tokens/s"
        if plan.verdict != "does_not_fit":
            speed += f" ({100 * (change.chat / before.of('chat').speculated - 1):+.0f} %)"
        saved = -(change.vram_bytes + change.ram_bytes)
        less = f", {format_gib(saved)} less" if saved >= WORTH_SAYING and change.kind != "no_card" else ""
        table.add_row(f"  {change.title}{less}", VERDICT_WORDS[change.verdict], speed)
    yield table
