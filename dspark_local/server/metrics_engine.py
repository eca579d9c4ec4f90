"""What the loaded engine holds and has moved, read when somebody asks for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import ReferenceType, ref

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dspark_local.backend import Backend
from dspark_local.engine_facts import ExpertTraffic, GraphicsMemory, MemoryPart
from dspark_local.server import metrics as names

_Backend = TypeVar("_Backend", bound=Backend)


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Bytes held by part as the engine accounts for them, the same against the plan, and experts since loading."""

    bytes_held: Mapping[str, int]
    experts: ExpertTraffic = field(default_factory=ExpertTraffic)
    parts: tuple[MemoryPart, ...] = ()
    vram: GraphicsMemory | None = None


class EngineCollector(Collector, Generic[_Backend]):
    """Reads the backend last attached, as long as it lives: being watched must not keep a model in memory."""

    def __init__(self, read: Callable[[_Backend], EngineReading]) -> None:
        self._read = read
        self._backend: ReferenceType[_Backend] | None = None

    def attach(self, backend: _Backend) -> None:
        """Read this one from now on. Its counters start at 0, which Prometheus knows as a restart."""
        self._backend = ref(backend)

    def reading(self) -> EngineReading | None:
        """What the engine says now; None while no model is in memory."""
        backend = self._backend() if self._backend is not None else None
        try:
            return self._read(backend) if backend is not None else None
        except AttributeError:  # close() in another thread took it apart just now
            return None

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        reading = self.reading()
        yield GaugeMetricFamily(names.LOADED, names.LOADED_HELP, value=float(reading is not None))
        if reading is None:
            return
        memory = GaugeMetricFamily(names.MEMORY_BYTES, names.MEMORY_HELP, labels=["part"])
        for part, nbytes in reading.bytes_held.items():
            memory.add_metric([part], nbytes)
        yield memory
        for name, text, value in (
            (names.EXPERT_FETCHES, names.EXPERT_FETCHES_HELP, reading.experts.fetches),
            (names.EXPERT_FETCHED_BYTES, names.EXPERT_FETCHED_HELP, reading.experts.read_bytes),
            (names.EXPERT_COPIED_BYTES, names.EXPERT_COPIED_HELP, reading.experts.copied_bytes),
        ):
            yield CounterMetricFamily(name, text, value=value)
