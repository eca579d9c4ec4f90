"""What would change a plan: each is planned again, and shown only where it helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from dspark_local.plan.engine_traits import BASELINE, EngineTraits
from dspark_local.plan.known_cards import typical_card
from dspark_local.plan.machine import GIB, Card, Machine
from dspark_local.plan.model_facts import ModelFacts
from dspark_local.plan.plan import VERDICTS, Plan, Verdict, make_plan
from dspark_local.sizes import format_tokens

Kind = Literal["context", "dense_4bit", "draft", "dense_4bit_no_draft", "card", "ram", "card_and_ram", "no_card"]

MODULE_SIZES = tuple(size * GIB for size in (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536))
CARD_SIZES = tuple(size * GIB for size in (6, 8, 12, 16, 24, 32, 48, 96, 141))
SHORTEST_CONTEXT = 2048
WORTHWHILE = 1.05
"""Gain in tokens a second from which on a change is worth a line; the estimate is no finer."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One change and what the plan becomes with it.

    vram_bytes and ram_bytes are how much more of each the plan would then take, negative for less, expert slots apart;
    plain and chat are tokens a second, without drafts and with them on chat.
    """

    kind: Kind
    title: str
    verdict: Verdict
    vram_bytes: int
    ram_bytes: int
    plain: float
    chat: float


class _Change(NamedTuple):
    kind: Kind
    title: str
    facts: ModelFacts
    machine: Machine
    context: int


def suggestions(plan: Plan, *, traits: EngineTraits = BASELINE) -> tuple[Suggestion, ...]:
    """Changes that make an ill-fitting plan fit better, or a fitting one faster."""
    found = []
    for change in (*_to_the_model(plan), *_to_the_machine(plan, traits)):
        changed = make_plan(change.facts, change.machine, change.context, traits=traits)
        if _helps(plan, changed):
            found.append(_suggestion(change, plan, changed))
    return tuple(found)


def _helps(plan: Plan, changed: Plan) -> bool:
    if changed.verdict == "does_not_fit":
        return False
    if VERDICTS.index(changed.verdict) < VERDICTS.index(plan.verdict):
        return True
    before, after = plan.estimate, changed.estimate
    return any(
        new.speculated > WORTHWHILE * old.speculated for old, new in zip(before.speeds, after.speeds, strict=True)
    )


def _suggestion(change: _Change, plan: Plan, changed: Plan) -> Suggestion:
    return Suggestion(
        kind=change.kind,
        title=change.title,
        verdict=changed.verdict,
        vram_bytes=_fixed(changed, "vram") - _fixed(plan, "vram"),
        ram_bytes=_fixed(changed, "ram") - _fixed(plan, "ram"),
        plain=changed.estimate.plain,
        chat=changed.estimate.of("chat").speculated,
    )


def _fixed(plan: Plan, tier: Literal["vram", "ram"]) -> int:
    """Bytes of a tier without the experts, which only fill what is left."""
    return sum(part.nbytes for part in plan.placement.of(tier) if not part.name.startswith("experts"))


def _to_the_model(plan: Plan) -> Iterator[_Change]:
    facts, machine, context = plan.facts, plan.machine, plan.context
    halves = [context >> times for times in range(1, 20) if context >> times >= SHORTEST_CONTEXT]
    better = (half for half in halves if make_plan(facts, machine, half).verdict != plan.verdict)
    shorter = next(better, halves[0] if halves else context)
    if shorter < context:
        yield _Change("context", f"A context of {format_tokens(shorter)}", facts, machine, shorter)
    small = facts.with_4bit_dense()
    if facts.draft is not None:
        yield _Change("draft", "No draft", facts.without_draft(), machine, context)
    if small != facts:
        yield _Change("dense_4bit", "4-bit dense (lossy)", small, machine, context)
    if small != facts and facts.draft is not None and make_plan(small, machine, context).verdict == "does_not_fit":
        title = "4-bit dense, no draft"
        yield _Change("dense_4bit_no_draft", title, small.without_draft(), machine, context)


def _to_the_machine(plan: Plan, traits: EngineTraits) -> Iterator[_Change]:
    facts, machine, context = plan.facts, plan.machine, plan.context

    def fits(other: Machine) -> bool:
        return make_plan(facts, other, context, traits=traits).verdict != "does_not_fit"

    def first(machines: list[Machine]) -> Machine | None:
        """The smallest that fits; where this one does already, simply the next."""
        return next((other for other in machines if fits(other)), None)

    if machine.card is not None and plan.vram_short:
        yield _Change("no_card", "Without the card (--cpu-only)", facts, machine.with_card(None), context)
    cards = [machine.with_card(_larger(machine.card, size)) for size in CARD_SIZES if size > _vram(machine) * 1.02]
    rams = [machine.with_ram(size) for size in MODULE_SIZES if size > machine.ram_bytes * 1.05]
    card, ram = first(cards), first(rams)
    if card is not None and card.card is not None:
        yield _Change("card", f"A card of {card.card.vram_bytes // GIB} GiB", facts, card, context)
    if ram is not None:
        yield _Change("ram", f"{ram.ram_bytes // GIB} GiB of RAM", facts, ram, context)
    if card is None and ram is None:
        both = first([other.with_ram(size) for size in MODULE_SIZES for other in cards if size > machine.ram_bytes])
        if both is not None and both.card is not None:
            title = f"{both.ram_bytes // GIB} GiB of RAM and a card of {both.card.vram_bytes // GIB} GiB"
            yield _Change("card_and_ram", title, facts, both, context)


def _vram(machine: Machine) -> int:
    return machine.card.vram_bytes if machine.card else 0


def _larger(card: Card | None, vram_bytes: int) -> Card:
    """A typical card of that size in the same slot; nobody's bandwidth gets worse by buying."""
    typical = typical_card(vram_bytes)
    if card is None:
        return Card(typical.name, vram_bytes, vram_bytes, typical.memory_rate, typical.link_rate)
    rate = max(card.memory_rate, typical.memory_rate)
    return replace(card, name=typical.name, vram_bytes=vram_bytes, free_bytes=vram_bytes, memory_rate=rate)
