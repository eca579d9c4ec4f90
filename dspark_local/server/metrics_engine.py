"""What the loaded engine holds and has moved, read when somebody asks for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import ReferenceType, ref

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dspark_local.backend import Backend
from dspark_local.server import metrics as names

_Backend = TypeVar("_Backend", bound=Backend)


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Bytes held by part; expert weights handed to passes since loading, and the bytes copied across devices."""

    bytes_held: Mapping[str, int]
    expert_fetches: int = 0
    expert_fetched_bytes: int = 0
    expert_copied_bytes: int = 0


class EngineCollector(Collector, Generic[_Backend]):
    """Reads the backend last attached, as long as it lives: being watched must not keep a model in memory."""

    def __init__(self, read: Callable[[_Backend], EngineReading]) -> None:
        self._read = read
        self._backend: ReferenceType[_Backend] | None = None

    def attach(self, backend: _Backend) -> None:
        """Read this one from now on. Its counters start at 0, which Prometheus knows as a restart."""
        self._backend = ref(backend)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        backend = self._backend() if self._backend is not None else None
        yield GaugeMetricFamily(names.LOADED, names.LOADED_HELP, value=float(backend is not None))
        if backend is None:
            return
        try:
            reading = self._read(backend)
        except AttributeError:  # close() in another thread took it apart just now
            return
        memory = GaugeMetricFamily(names.MEMORY_BYTES, names.MEMORY_HELP, labels=["part"])
        for part, nbytes in reading.bytes_held.items():
            memory.add_metric([part], nbytes)
        yield memory
        for name, text, value in (
            (names.EXPERT_FETCHES, names.EXPERT_FETCHES_HELP, reading.expert_fetches),
            (names.EXPERT_FETCHED_BYTES, names.EXPERT_FETCHED_HELP, reading.expert_fetched_bytes),
            (names.EXPERT_COPIED_BYTES, names.EXPERT_COPIED_HELP, reading.expert_copied_bytes),
        ):
            yield CounterMetricFamily(name, text, value=value)
