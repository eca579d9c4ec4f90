"""A computer as the planner sees it. Rates are bytes a second; None says that nobody measured or knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Vendor = Literal["nvidia", "amd", "intel", "apple", "unknown"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card.

    capability            compute capability of an NVIDIA card, such as (8, 9); None for other vendors
    memory_rate           reads of its own memory
    host_to_device_rate   copies from pinned host memory
    pinned_limit_bytes    host memory that may be pinned; None where the system sets no limit
    """

    name: str
    vendor: Vendor
    capability: tuple[int, int] | None
    vram_bytes: int
    free_vram_bytes: int
    memory_rate: float | None = None
    host_to_device_rate: float | None = None
    pinned_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """cores are physical ones this process may use; read_rate is what all of them together read from RAM."""

    model: str
    cores: int
    threads: int
    instruction_sets: tuple[str, ...] = ()
    read_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM, limits of a container taken into account."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Where models lie. random_read_rate is of reads of one expert's size (13 MB) past the page cache."""

    path: str
    free_bytes: int
    total_bytes: int
    random_read_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """A whole computer; gpus in the order of the system, empty without one."""

    gpus: tuple[Gpu, ...]
    cpu: Cpu
    memory: Memory
    disk: Disk
    is_wsl: bool = False
