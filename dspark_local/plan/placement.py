"""Where each part of a model lies: graphics memory, RAM or disk. Pure arithmetic.

Rules, and why:
1. What every token reads goes to the card first: dense layers, head, the draft's dense layers, caches. Reading them
   over PCIe would cost more than the whole token (8 GB at 26 GB/s against 8 ms on a 24 GB card).
2. Embeddings and routing tables are read one row a token, so RAM holds them.
3. Routed experts fill what is left of the card, then of RAM; the rest stays on disk and is read when it is needed.
   The tiers are exclusive: an expert that leaves the card goes back to RAM. Copies in both would leave twice as many
   on the disk of a computer with 128 GB.
4. Draft experts share the slots with the target's. Pinning all of them on the card takes slots from the target and
   costs 5-12 % on cards of 24 to 32 GB.
5. The card keeps a reserve for its driver and for fragments, RAM one for the operating system.
6. Experts that the card may copy lie in pinned RAM, at most half of it: more starves the system of pages that it can
   move. The CPU computes with the others where they are.
7. Without a card the same things lie in RAM, and experts beyond it in the page cache's reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from dspark_local.plan.machine import GIB, Machine
from dspark_local.plan.model_facts import ModelFacts

Tier = Literal["vram", "ram", "disk"]

CARD_RESERVE = 0.05
CARD_RESERVE_FLOOR = GIB
STAGED_EXPERTS = 32
"""Experts in flight between RAM and the card: two layers' misses of a verify pass."""
ACTIVATION_BYTES = 192 * 2**20
"""Activations and logits of one prefill chunk."""
SYSTEM_SHARE = 0.125
SYSTEM_FLOOR, SYSTEM_CEILING = 4 * GIB, 8 * GIB


class Part(NamedTuple):
    """Something that takes room; name is stable, for machines."""

    tier: Tier
    name: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """parts without the reserves; slots are experts that fit beside them.

    *_free are what is left over, negative where the parts do not fit. expert_blocks is over how many blocks the
    slots are shared.
    """

    parts: tuple[Part, ...]
    card_reserve: int
    system_reserve: int
    card_free: int
    ram_free: int
    card_slots: int
    ram_slots: int
    disk_slots: int
    expert_blocks: int
    disk_needed: int

    def of(self, tier: Tier) -> tuple[Part, ...]:
        """The parts in one tier."""
        return tuple(part for part in self.parts if part.tier == tier)

    def bytes_in(self, tier: Tier) -> int:
        """Bytes of all parts in one tier, without its reserve."""
        return sum(part.nbytes for part in self.of(tier))

    @property
    def card_slots_per_block(self) -> float:
        """Experts of each block on the card, on average."""
        return self.card_slots / self.expert_blocks if self.expert_blocks else 0.0

    @property
    def fast_slots_per_block(self) -> float:
        """Experts of each block on the card or in RAM, on average."""
        return (self.card_slots + self.ram_slots) / self.expert_blocks if self.expert_blocks else 0.0


def place(facts: ModelFacts, machine: Machine, context: int) -> Placement:
    """Lay all weights, and caches for `context` tokens, out on a machine, whether they fit or not."""
    expert = facts.experts.nbytes if facts.experts else 0
    draft_expert = facts.draft.experts.nbytes if facts.draft and facts.draft.experts else 0
    size = max(expert, draft_expert)
    total_slots = _total_slots(facts)
    card, system = machine.card, system_reserve(machine.ram_bytes)
    home: Tier = "vram" if card else "ram"
    fixed = _fixed_parts(facts, context, home, size if card else 0)
    parts = [part for part in fixed if part.nbytes]
    reserve = max(round(CARD_RESERVE * card.vram_bytes), CARD_RESERVE_FLOOR) if card else 0
    card_free = (card.free_bytes - reserve - _sum(parts, "vram")) if card else 0
    card_slots = min(max(card_free, 0) // size, total_slots) if size else 0
    usable = min(machine.ram_free_bytes, machine.ram_bytes - system)
    ram_free = usable - _sum(parts, "ram")
    ram_slots = min(max(ram_free, 0) // size, total_slots - card_slots) if size else 0
    disk_slots = total_slots - card_slots - ram_slots
    if size:
        parts += _expert_parts(machine, card_slots * size, ram_slots * size, disk_slots * size)
    return Placement(
        parts=tuple(parts),
        card_reserve=reserve,
        system_reserve=system,
        card_free=card_free - card_slots * size,
        ram_free=ram_free - ram_slots * size,
        card_slots=card_slots,
        ram_slots=ram_slots,
        disk_slots=disk_slots,
        expert_blocks=facts.blocks,
        disk_needed=facts.total_bytes,
    )


def system_reserve(ram_bytes: int) -> int:
    """RAM left to the operating system and everything else: an eighth, from 4 to 8 GiB."""
    return min(max(round(SYSTEM_SHARE * ram_bytes), SYSTEM_FLOOR), SYSTEM_CEILING)


def _total_slots(facts: ModelFacts) -> int:
    own = facts.layers * facts.experts.count if facts.experts else 0
    draft = facts.draft
    return own + (draft.layers * draft.experts.count if draft and draft.experts else 0)


def _fixed_parts(facts: ModelFacts, context: int, home: Tier, staged_expert: int) -> list[Part]:
    """Everything but routed experts."""
    draft = facts.draft
    return [
        Part(home, "dense", facts.dense_bytes),
        Part(home, "head", facts.head_bytes),
        Part(home, "draft", draft.dense_bytes + draft.per_draft_bytes if draft else 0),
        Part(home, "caches", sum(facts.cache_parts(context).values())),
        Part(home, "workspace", ACTIVATION_BYTES + STAGED_EXPERTS * staged_expert),
        Part("ram", "embedding", facts.lookup_bytes + (draft.lookup_bytes if draft else 0)),
    ]


def _expert_parts(machine: Machine, on_card: int, in_ram: int, on_disk: int) -> list[Part]:
    pinned = 0
    if machine.card:
        limit = machine.card.pinned_limit_bytes
        pinned = min(in_ram, machine.ram_bytes // 2, in_ram if limit is None else limit)
    parts = [
        Part("vram", "experts", on_card),
        Part("ram", "experts_pinned", pinned),
        Part("ram", "experts_pageable", in_ram - pinned),
        Part("disk", "experts", on_disk),
    ]
    return [part for part in parts if part.nbytes]


def _sum(parts: list[Part], tier: Tier) -> int:
    return sum(part.nbytes for part in parts if part.tier == tier)
