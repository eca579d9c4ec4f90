"""What a cold expert costs: by page faults, asked ahead, and as a raw read of the same size from the same file.

Every way of every directory reads the same experts, each in an order of its own, and all take turns, so that a disk
that is busy for a while is busy for all of them and no bytes are read twice in a row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from dspark_local.bench.expert_source import Expert, ExpertSource, Read
from dspark_local.errors import UsageError

FAULTS, AHEAD, RAW = "page faults", "asked ahead", "raw read"


@dataclass(frozen=True, slots=True)
class WayFigures:
    """One way to read experts: seconds and bytes a second are medians over the reads, disk_bytes is one of them too.

    to_raw is its speed relative to the raw reads of the same directory.
    """

    seconds: float
    seconds_range: tuple[float, float]
    bytes_per_second: float
    to_raw: float
    disk_bytes: int | None


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One directory: its ways by name; `asked ahead` is missing where the system is not asked."""

    name: str
    is_repacked: bool
    ways: dict[str, WayFigures]

    def speedup(self, way: str, over: str) -> float:
        """How many times as fast `way` is as `over`."""
        return self.ways[way].bytes_per_second / self.ways[over].bytes_per_second


@dataclass(frozen=True, slots=True)
class ExpertReads:
    """The same experts in every directory: how many, their least and most bytes, and whether the reads were cold.

    is_cold is None when this system tells nothing about it.
    """

    experts: int
    nbytes: tuple[int, int]
    is_cold: bool | None
    sources: tuple[SourceFigures, ...]


def choose(sources: Sequence[ExpertSource], count: int, draw: random.Random) -> list[Expert]:
    """At most `count` experts that all directories have.

    UsageError when there are none, or when they have other sizes in another directory.
    """
    for source in sources:
        if not source.experts:
            raise UsageError(
                f"{source.name} has no routed experts, so there is none to read.",
                hint="--experts is for mixture-of-experts models such as DeepSeek-V4.",
            )
    shared = sorted(frozenset.intersection(*(source.experts for source in sources)))
    chosen = draw.sample(shared, min(count, len(shared)))
    if not chosen or any(len({source.nbytes(expert) for source in sources}) > 1 for expert in chosen):
        raise UsageError(
            f"{' and '.join(source.name for source in sources)} do not have the same experts.",
            hint="--against takes the same model in another layout or on another disk.",
        )
    return chosen


def measure(
    sources: Sequence[ExpertSource],
    experts: Sequence[Expert],
    draw: random.Random,
    on_read: Callable[[int, int], None] = lambda done, of: None,
) -> ExpertReads:
    """Read them all in every way; on_read hears how many reads are done, of how many.

    Raises OSError and dspark_models' CheckpointError for files that cannot be read.
    """
    ways: dict[tuple[int, str], Callable[[Expert], Read]] = {}
    for number, source in enumerate(sources):
        ways[number, FAULTS] = partial(source.fetch, ask=False)
        asked = next((expert for expert in experts if source.is_asked_ahead(expert)), None)
        source.fetch(asked or experts[0], ask=False)  # lets what was asked for arrive, and the code run once untimed
        if asked is not None:
            ways[number, AHEAD] = partial(source.fetch, ask=True)
        ways[number, RAW] = partial(source.read_raw, draw=draw)
    orders = {way: draw.sample(experts, len(experts)) for way in ways}
    reads: dict[tuple[int, str], list[Read]] = {way: [] for way in ways}
    for turn in range(len(experts)):
        for way in draw.sample(list(ways), len(ways)):
            reads[way].append(ways[way](orders[way][turn]))
            on_read(sum(map(len, reads.values())), len(ways) * len(experts))
    sizes = [sources[0].nbytes(expert) for expert in experts]
    return ExpertReads(
        experts=len(experts),
        nbytes=(min(sizes), max(sizes)),
        is_cold=_is_cold([read for way in reads.values() for read in way]),
        sources=tuple(
            SourceFigures(
                source.name,
                source.is_repacked,
                {way: _figures(of, reads[number, RAW]) for (at, way), of in reads.items() if at == number},
            )
            for number, source in enumerate(sources)
        ),
    )


def _figures(reads: Sequence[Read], raw: Sequence[Read]) -> WayFigures:
    seconds = [read.seconds for read in reads]
    counted = [read.disk_bytes for read in reads if read.disk_bytes is not None]
    return WayFigures(
        seconds=median(seconds),
        seconds_range=(min(seconds), max(seconds)),
        bytes_per_second=_rate(reads),
        to_raw=_rate(reads) / _rate(raw),
        disk_bytes=round(median(counted)) if counted else None,
    )


def _rate(reads: Sequence[Read]) -> float:
    return median(read.nbytes / read.seconds for read in reads)


def _is_cold(reads: Sequence[Read]) -> bool | None:
    """Cold reads come from a disk, all of their bytes; a page that another program holds on to is not forgotten."""
    counted = [read for read in reads if read.disk_bytes is not None]
    if not counted:
        return None
    return all(read.disk_bytes is not None and read.disk_bytes >= 0.9 * read.nbytes for read in counted)
