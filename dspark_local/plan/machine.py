"""The computer as the plan's arithmetic wants it: every rate a number, and a note of those that nobody measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dspark_local.hardware.facts import Gpu, Hardware
from dspark_local.plan.known_cards import card_named, find_card, typical_card

GIB = 2**30
ASSUMED_RAM_RATE = 50e9
"""Two channels of memory between DDR4-3200 (43 GB/s read) and DDR5-6000 (78)."""
ASSUMED_DISK_RATE = 3.5e9
"""A PCIe 3 NVMe disk, in reads of one expert's size."""
ASSUMED_LINK_RATE = 12.3e9
"""PCIe 3 x16, or 4 x8."""
FLOPS_PER_RAM_BYTE = 6.5
"""CPU arithmetic on FP4 experts for each byte that RAM delivers: desktop and server CPUs lie between 5 and 9."""


@dataclass(frozen=True, slots=True)
class Card:
    """vram_bytes is all its memory, free_bytes what programs may still take; rates in bytes a second.

    A name is empty for a card that only its size describes.
    """

    name: str
    vram_bytes: int
    free_bytes: int
    memory_rate: float
    link_rate: float
    pinned_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """card None: everything runs on the CPU. disk_free_bytes None: not known, so not checked.

    ram_bytes is all RAM, ram_free_bytes what programs may still take; assumed names the rates that are guesses;
    notes say what of the hardware is left unused and why.
    """

    card: Card | None
    ram_bytes: int
    ram_free_bytes: int
    ram_rate: float
    disk_rate: float
    disk_free_bytes: int | None = None
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def cpu_flops(self) -> float:
        """Multiply-adds count as two."""
        return FLOPS_PER_RAM_BYTE * self.ram_rate

    def with_ram(self, nbytes: int) -> Machine:
        """The same computer with other memory modules of the same speed, otherwise idle."""
        return replace(self, ram_bytes=nbytes, ram_free_bytes=nbytes)

    def with_card(self, card: Card | None) -> Machine:
        """The same computer with another card."""
        return replace(self, card=card)


def machine_from(hardware: Hardware) -> Machine:
    """What a probe found; rates it could not measure are assumed. The NVIDIA card with the most memory is used."""
    assumed: list[str] = []
    notes: list[str] = []
    cards = sorted((gpu for gpu in hardware.gpus if gpu.vendor == "nvidia"), key=lambda gpu: -gpu.vram_bytes)
    others = [gpu.name for gpu in hardware.gpus if gpu.vendor != "nvidia"]
    if others and not cards:
        notes.append(f"{others[0]} is no NVIDIA card: planned for the CPU alone.")
    if len(cards) > 1:
        notes.append(f"Of {len(cards)} cards only one is used: {cards[0].name}.")
    card = _card(cards[0], assumed) if cards else None
    ram_rate = hardware.cpu.read_rate
    if ram_rate is None:
        assumed.append("RAM bandwidth")
    disk_rate = hardware.disk.random_read_rate
    if disk_rate is None:
        assumed.append("disk speed")
    return Machine(
        card=card,
        ram_bytes=hardware.memory.total_bytes,
        ram_free_bytes=hardware.memory.available_bytes,
        ram_rate=ram_rate or ASSUMED_RAM_RATE,
        disk_rate=disk_rate or ASSUMED_DISK_RATE,
        disk_free_bytes=hardware.disk.free_bytes or None,
        assumed=tuple(assumed),
        notes=tuple(notes),
    )


def _card(gpu: Gpu, assumed: list[str]) -> Card:
    known = find_card(gpu.name)
    memory_rate = gpu.memory_rate or (known.memory_rate if known else None)
    if memory_rate is None:
        assumed.append("card bandwidth")
        memory_rate = typical_card(gpu.vram_bytes).memory_rate
    link = gpu.host_to_device_rate or (known.link_rate if known else None)
    if link is None:
        assumed.append("PCIe speed")
        link = ASSUMED_LINK_RATE
    return Card(gpu.name, gpu.vram_bytes, gpu.free_vram_bytes, memory_rate, link, gpu.pinned_limit_bytes)


def wished_card(name: str | None, vram_bytes: int | None, link: float | None, assumed: list[str]) -> Card:
    """A card that is not here, by its name, its memory or both. Appends to `assumed`; UsageError for a strange name."""
    known = card_named(name) if name else None
    if known is not None:
        size = vram_bytes or known.vram_bytes
        return Card(known.name, size, size, known.memory_rate, link or known.link_rate)
    assert vram_bytes is not None, "a card needs a name or a size"
    typical = typical_card(vram_bytes)
    assumed.append("card bandwidth")
    if link is None:
        assumed.append("PCIe speed")
    return Card("", vram_bytes, vram_bytes, typical.memory_rate, link or typical.link_rate)
