"""Cold expert reads as text for people, 80 columns wide at most, and as one object for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dspark_local.bench.expert_reads import AHEAD, FAULTS, RAW, ExpertReads, SourceFigures, WayFigures
from dspark_local.bench.expert_source import CAN_FORGET
from dspark_local.bench.table import NOTHING, aligned
from dspark_local.sizes import format_bytes
from dspark_models.read_ahead import WORTH_ASKING_BYTES

_HEAD = ("way", "median", "range", "GB/s", "of raw", "from disk")

LEGEND = """\
page faults  the mapped pages are touched, the system reads what it thinks fit
asked ahead  the system is asked for these bytes first, as the engine does
raw read     as many bytes in one piece from the same file, past the page cache
             where the file system allows it
of raw       speed relative to the raw read
from disk    bytes that the system counted as read, the median"""


def title(reads: ExpertReads) -> str:
    """What was read."""
    least, most = (format_bytes(size) for size in reads.nbytes)
    size = least if least == most else f"{least} to {most}"
    return f"{reads.experts} {'expert' if reads.experts == 1 else 'experts'} of {size}"


def source_table(source: SourceFigures) -> str:
    """The ways of one directory, and what asking ahead is worth in it."""
    rows = [_HEAD, *(_cells(way, figures) for way, figures in source.ways.items())]
    lines = [f"{source.name}, {_layout(source)}", *aligned(rows)]
    if AHEAD in source.ways:
        lines.append(f"Asking ahead is {source.speedup(AHEAD, FAULTS):.2f} times as fast as page faults.")
    return "\n".join(lines)


def against_lines(first: SourceFigures, second: SourceFigures) -> str:
    """How many times as fast the second directory is as the first, way by way."""
    ratios = [f"{way} {ratio:.2f}" for way, ratio in _against(first, second).items()]
    return f"Second over first: {', '.join(ratios)}"


def notes(reads: ExpertReads) -> list[str]:
    """What these figures are not."""
    lines = []
    if not CAN_FORGET:
        lines.append("Not cold: the page cache cannot be emptied on this system.")
    elif reads.is_cold is None:
        lines.append("This system does not tell whether bytes came from the disk.")
    elif not reads.is_cold:
        lines.append(
            "Not all cold: some bytes did not come from the disk. The files lie in memory, or\n"
            "another program has them open, or the system does not count these reads."
        )
    if any(AHEAD not in source.ways for source in reads.sources):
        lines.append(
            f"The engine does not ask ahead here: less than {format_bytes(WORTH_ASKING_BYTES)} is read in one go,\n"
            "and systems other than Linux cannot be asked."
        )
    return lines


def report_object(reads: ExpertReads) -> dict[str, Any]:
    """All figures; sizes in bytes, times in seconds."""
    report = {**asdict(reads), "can_empty_page_cache": CAN_FORGET, "notes": notes(reads)}
    if len(reads.sources) > 1:
        report["second_to_first"] = _against(*reads.sources)
    return report


def _against(first: SourceFigures, second: SourceFigures) -> dict[str, float]:
    return {
        way: second.ways[way].bytes_per_second / figures.bytes_per_second
        for way, figures in first.ways.items()
        if way in second.ways
    }


def _layout(source: SourceFigures) -> str:
    return "repacked" if source.is_repacked else "as published"


def _cells(way: str, figures: WayFigures) -> tuple[str, ...]:
    low, high = figures.seconds_range
    return (
        way,
        f"{1000 * figures.seconds:.1f} ms",
        f"{1000 * low:.1f}–{1000 * high:.1f} ms",
        f"{figures.bytes_per_second / 1e9:.2f}",
        NOTHING if way == RAW else f"{figures.to_raw:.2f}",
        NOTHING if figures.disk_bytes is None else format_bytes(figures.disk_bytes),
    )
