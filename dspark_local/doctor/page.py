"""The report as one page of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dspark_local.doctor.findings import Finding
from dspark_local.doctor.privacy import private_scrubber
from dspark_local.doctor.report import Kernel, Report
from dspark_local.hardware.facts import Gpu
from dspark_local.sizes import format_bytes, format_gib

if TYPE_CHECKING:
    from rich.console import RenderableType

Row = tuple[str, str]

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_LABEL_COLUMNS = 18  # two spaces and "llama-cpp-python"


def page(report: Report, findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    """A table a section, then the findings."""
    from rich.table import Table
    from rich.text import Text

    scrub = private_scrubber()

    def section(title: str, rows: list[Row], style: str = "") -> Iterator[RenderableType]:
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_LABEL_COLUMNS, overflow="fold")
        table.add_column(overflow="fold", ratio=1)
        for label, text in rows:
            table.add_row(Text(f"  {label}", style=style), Text(scrub(text)))
        yield Text(title, style="bold")
        yield table

    for title, rows in _sections(report):
        yield from section(title, rows)
    yield Text("Findings", style="bold")
    for finding in findings:
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_LABEL_COLUMNS)
        table.add_column(overflow="fold", ratio=1)
        table.add_row(Text(f"  {finding.severity}", style=_STYLES[finding.severity]), Text(scrub(finding.text)))
        if finding.advice:
            table.add_row("", Text(scrub(finding.advice), style="dim"))
        yield table


def _sections(report: Report) -> Iterator[tuple[str, list[Row]]]:
    unknown = [("", "could not be looked at")]
    yield "System", list(_system(report)) or unknown
    yield "Graphics", list(_graphics(report)) or unknown
    yield "CPU, memory and disk", list(_machine(report)) or unknown
    yield "Packages", list(_packages(report))
    yield "Kernels", list(_kernels(report.kernels)) or unknown
    yield "Hub and models", [*_hub(report), *_models(report)]


def _system(report: Report) -> Iterator[Row]:
    system = report.system
    if system is not None:
        yield "dspark-local", f"{system.version}, Python {system.python}"
        yield "system", f"{system.system}, {system.machine}{' (WSL)' if system.is_wsl else ''}"
        yield "state", system.state_folder


def _graphics(report: Report) -> Iterator[Row]:
    found = report.survey
    if found is None:
        return
    for index, gpu in enumerate(found.hardware.gpus):
        used = index < found.usable_gpus
        yield (f"card {index}" if used else "seen, unused"), _card(gpu, used)
        if used:
            yield "", _card_rates(gpu, found.remarks.get("gpu", "not measured"))
    if not found.hardware.gpus:
        yield "card", "none"
    if found.driver:
        yield "driver", f"NVIDIA {found.driver}"


def _card(gpu: Gpu, used: bool) -> str:
    parts = [gpu.name]
    if gpu.capability is not None:
        parts.append(f"compute capability {gpu.capability[0]}.{gpu.capability[1]}")
    if gpu.vram_bytes:
        free = f", {format_gib(gpu.free_vram_bytes)} free" if used else ""
        parts.append(f"{format_gib(gpu.vram_bytes)}{free}")
    return ", ".join(parts)


def _card_rates(gpu: Gpu, reason: str) -> str:
    if gpu.memory_rate is None:
        return reason
    pinned = "no limit" if gpu.pinned_limit_bytes is None else f"at most {format_gib(gpu.pinned_limit_bytes)}"
    from_host = "not measured" if gpu.host_to_device_rate is None else _rate(gpu.host_to_device_rate)
    return f"its memory {_rate(gpu.memory_rate)}, from host {from_host}, pinned memory: {pinned}"


def _machine(report: Report) -> Iterator[Row]:
    found = report.survey
    if found is None:
        return
    hardware, remarks = found.hardware, found.remarks
    cpu, memory, disk = hardware.cpu, hardware.memory, hardware.disk
    yield "CPU", f"{cpu.model}, {cpu.cores} cores, {cpu.threads} threads; {' '.join(cpu.instruction_sets)}".rstrip("; ")
    reads = _rate(cpu.read_rate) if cpu.read_rate else remarks.get("cpu", "not measured")
    yield "memory", f"{format_gib(memory.total_bytes)}, {format_gib(memory.available_bytes)} available"
    yield "memory reads", reads
    kind = f" ({report.filesystem})" if report.filesystem else ""
    yield "disk", f"{format_bytes(disk.free_bytes)} free of {format_bytes(disk.total_bytes)}{kind}"
    yield "expert reads", _rate(disk.random_read_rate) if disk.random_read_rate else remarks.get("disk", "not measured")


def _packages(report: Report) -> Iterator[Row]:
    torch = report.torch
    if torch is not None:
        yield "torch", f"does not load: {torch.error}" if torch.error else f"{torch.version}, built for {torch.backend}"
    for extra in report.extras:
        command = f"; {extra.command}" if extra.command else "; not made for this system"
        yield extra.name, f"{extra.version or 'absent'}: {extra.use}{'' if extra.version else command}"


def _kernels(kernels: tuple[Kernel, ...]) -> Iterator[Row]:
    """Ops that use the same thing for the same reason share a row."""
    shared: dict[tuple[str, str], list[str]] = {}
    for kernel in kernels:
        shared.setdefault((kernel.implementation, kernel.reason), []).append(kernel.op)
    for (implementation, reason), ops in shared.items():
        yield implementation, f"{', '.join(ops)}: {reason}"


def _hub(report: Report) -> Iterator[Row]:
    hub = report.hub
    if hub is not None:
        token = "a token is set" if hub.has_token else "no token is set"
        yield "hub", f"{hub.endpoint}, {token}{', offline' if hub.is_offline else ''}"
        yield "cache", hub.cache_folder


def _models(report: Report) -> Iterator[Row]:
    for model in report.models:
        yield "model", f"{model.name}, {format_bytes(model.nbytes)}, {model.state}"
    if not report.models:
        yield "models", "none yet; `dspark-local list --available` shows what there is"


def _rate(bytes_a_second: float) -> str:
    return f"{format_bytes(bytes_a_second)}/s"
