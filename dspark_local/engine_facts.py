"""What a server tells of its engine: memory against the plan, bytes moved, who is being answered.

Plain data; WIRE reads and writes it as JSON, and ignores what it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

MemoryTier = Literal["vram", "ram", "disk"]


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the model's memory and where it lies; disk is what is mapped from files through the page cache.

    planned_bytes is what the plan counted before anything was loaded. held_bytes is what is there now, None where the
    engine cannot tell this part from others.
    """

    name: str
    tier: MemoryTier
    planned_bytes: int
    held_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GraphicsMemory:
    """The card that the model computes on. process_bytes is what this process took of it."""

    total_bytes: int
    free_bytes: int
    process_bytes: int


@dataclass(frozen=True, slots=True)
class SystemMemory:
    """RAM as the process may use it. process_bytes is its resident set, mapped files that were read among it."""

    total_bytes: int
    available_bytes: int
    process_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertTraffic:
    """Routed experts since the model was loaded: how many passes asked for, and the bytes that this moved.

    read_bytes were handed out of the mapped files, copied_bytes of them crossed to the card.
    """

    fetches: int = 0
    read_bytes: int = 0
    copied_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """State of the engine now. parts and experts are empty while no model is in memory; vram is None without a card.

    slots is how many answers it works on at once, running and waiting are those there are.
    """

    model: str
    device: str
    ram: SystemMemory
    uptime_seconds: float
    slots: int
    running: int
    waiting: int
    parts: tuple[MemoryPart, ...] = ()
    vram: GraphicsMemory | None = None
    experts: ExpertTraffic = ExpertTraffic()

    def planned_in(self, tier: MemoryTier) -> int:
        """Bytes that the plan puts into a tier."""
        return sum(part.planned_bytes for part in self.parts if part.tier == tier)


WIRE: TypeAdapter[EngineFacts] = TypeAdapter(EngineFacts)
