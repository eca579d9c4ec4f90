"""Reading the native engine for the metrics and for whoever asks about it. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from dspark_local.engine_facts import ExpertTraffic, GraphicsMemory, MemoryPart
from dspark_local.native import NativeBackend
from dspark_local.plan.engine_plan import EnginePlan
from dspark_local.server.metrics_engine import EngineReading


def read_native(backend: NativeBackend) -> EngineReading:
    """What target and draft hold, and the ledgers of their expert stores. Safe from any thread."""
    held: dict[str, int] = {}
    fetches = read = copied = 0
    for owner in (backend.target, backend.drafter):
        if owner is None:
            continue
        for part, nbytes in owner.bytes_held().items():
            held[part] = held.get(part, 0) + nbytes
        store = getattr(owner, "store", None)  # a target without routed experts has none
        if store is not None:
            fetches += store.ledger.fetches
            read += store.ledger.fetched_bytes
            copied += store.ledger.copied_bytes
    experts = ExpertTraffic(fetches, read, copied)
    parts = tuple(memory_parts(backend.plan, held, copied)) if backend.plan is not None else ()
    return EngineReading(held, experts, parts, _graphics_memory(backend.info.device))


def memory_parts(plan: EnginePlan, held: Mapping[str, int], copied_bytes: int) -> Iterator[MemoryPart]:
    """Each part of the plan beside what is held of it; copied_bytes of experts have crossed to the card so far."""
    weights = ("weights", "draft_weights")
    is_card = plan.device.startswith("cuda")
    for name, planned in plan.held.items():
        # Held weights are counted as they lie on disk, and the workspace is torch's own.
        is_told_apart = name not in (*weights, "workspace")
        yield MemoryPart(name, "vram" if is_card else "ram", planned, held.get(name, 0) if is_told_apart else None)
    if not is_card:
        yield MemoryPart("weights", "disk", plan.mapped, sum(held.get(name, 0) for name in weights))
        return
    if plan.resident:  # each is copied once, when it is first used, and stays
        yield MemoryPart("experts", "vram", plan.resident, copied_bytes)
    experts = plan.mapped - plan.resident - sum(plan.held.get(name, 0) for name in weights)
    if experts > 0:
        yield MemoryPart("experts", "disk", experts)


def _graphics_memory(device: str) -> GraphicsMemory | None:
    if not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    return GraphicsMemory(total, free, torch.cuda.memory_reserved(device))
