"""Reading the native engine for the metrics. Imports torch."""

from __future__ import annotations

from dspark_local.native import NativeBackend
from dspark_local.server.metrics_engine import EngineReading


def read_native(backend: NativeBackend) -> EngineReading:
    """What target and draft hold, and the ledgers of their expert stores. Safe from any thread."""
    parts: dict[str, int] = {}
    fetches = fetched = copied = 0
    for owner in (backend.target, backend.drafter):
        if owner is None:
            continue
        for part, nbytes in owner.bytes_held().items():
            parts[part] = parts.get(part, 0) + nbytes
        store = getattr(owner, "store", None)  # a target without routed experts has none
        if store is not None:
            fetches += store.ledger.fetches
            fetched += store.ledger.fetched_bytes
            copied += store.ledger.copied_bytes
    return EngineReading(parts, fetches, fetched, copied)
