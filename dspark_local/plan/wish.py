"""The machine to plan for: this one, one that is only described, or this one with some of it exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dspark_local.errors import UsageError
from dspark_local.hardware.facts import Hardware
from dspark_local.plan.known_cards import link_rate
from dspark_local.plan.machine import (
    ASSUMED_DISK_RATE,
    ASSUMED_RAM_RATE,
    Machine,
    machine_from,
    wished_card,
)
from dspark_local.sizes import parse_bytes

_LEAST_MEMORY = 2**20


@dataclass(frozen=True, slots=True)
class Wish:
    """The hardware options as they were typed; None is not given."""

    gpu: str | None = None
    vram: str | None = None
    ram: str | None = None
    ram_bandwidth: str | None = None
    pcie: str | None = None
    disk_read: str | None = None
    is_cpu_only: bool = False


def wished_machine(wish: Wish, probe: Callable[[], Hardware]) -> Machine:
    """The machine; `probe` is asked only where the options leave something open. UsageError names a bad option."""
    vram = _memory(wish.vram, "--vram") if wish.vram is not None else None
    has_no_card = wish.is_cpu_only or vram == 0
    if has_no_card and (wish.gpu or vram):
        raise UsageError("--cpu-only leaves no place for --gpu or --vram.", hint="Give one or the other.")
    names_card = wish.gpu is not None or vram is not None
    if wish.ram is not None and (names_card or has_no_card):
        machine = Machine(None, 0, 0, ASSUMED_RAM_RATE, ASSUMED_DISK_RATE, assumed=("RAM bandwidth", "disk speed"))
    else:
        machine = machine_from(probe())
    assumed = [name for name in machine.assumed if name not in ("card bandwidth", "PCIe speed") or not names_card]
    if wish.ram is not None:
        machine = machine.with_ram(_memory(wish.ram, "--ram"))
    if has_no_card:
        machine = replace(machine, card=None, notes=())
    elif names_card:
        link = _link(wish.pcie) if wish.pcie is not None else None
        machine = replace(machine, card=wished_card(wish.gpu, vram, link, assumed), notes=())
    elif wish.pcie is not None and machine.card is not None:
        machine = replace(machine, card=replace(machine.card, link_rate=_link(wish.pcie)))
        assumed = [name for name in assumed if name != "PCIe speed"]
    if wish.ram_bandwidth is not None:
        machine = replace(machine, ram_rate=parse_rate(wish.ram_bandwidth, "--ram-bandwidth"))
        assumed = [name for name in assumed if name != "RAM bandwidth"]
    if wish.disk_read is not None:
        machine = replace(machine, disk_rate=parse_rate(wish.disk_read, "--disk-read"))
        assumed = [name for name in assumed if name != "disk speed"]
    return replace(machine, assumed=tuple(assumed))


def _memory(text: str, option: str) -> int:
    nbytes = parse_bytes(text, option)
    if 0 < nbytes < _LEAST_MEMORY:  # somebody left the unit out
        raise UsageError(f"{option} is {text!r}, which is {nbytes:,} bytes.", hint=f"Write it like {nbytes}GiB.")
    return nbytes


def parse_rate(text: str, option: str) -> float:
    """`72`, `72GB/s` or `72GB`, all 72 * 10^9 bytes a second. UsageError names the option."""
    amount = text.strip().removesuffix("/s")
    try:
        rate = float(amount) * 1e9
    except ValueError:
        rate = float(parse_bytes(amount, option))
    if not 0 < rate < float("inf"):
        raise UsageError(f"{option} is {text!r}, it must be more than nothing.", hint="Write it like 72GB/s.")
    return rate


def _link(text: str) -> float:
    try:
        return link_rate(text)
    except ValueError:
        return parse_rate(text, "--pcie")
