"""What stands in the way on this computer, and what to do about it. Pure functions of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dspark_local.doctor.report import Report
from dspark_local.hardware.disk_rate import LEAST_FREE_BYTES
from dspark_local.hardware.facts import Gpu
from dspark_local.sizes import format_bytes, format_gib

Severity = Literal["ok", "warning", "problem"]

_OLDEST_TORCH = (2, 6)
_LITTLE_RAM = 32 * 2**30  # below it V4-Flash reads nearly every expert from the disk
_LEAST_RAM = 2 * 2**30
_SLOW_DISK = 5e8  # a SATA disk; NVMe disks read 2 GB/s and more
_SLOW_FILESYSTEMS = {"9p", "drvfs"}  # the drives of Windows, seen from WSL


@dataclass(frozen=True, slots=True)
class Finding:
    """code is stable, for machines; text and advice are sentences."""

    severity: Severity
    code: str
    text: str
    advice: str = ""


def find(report: Report) -> tuple[Finding, ...]:
    """Problems first, then warnings; one "ok" when there is neither."""
    checks = (_failures, _system, _torch, _cards, _pinning, _memory, _cpu, _disk, _hub)
    found = [finding for check in checks for finding in check(report)]
    found.sort(key=lambda finding: finding.severity != "problem")
    return tuple(found) or (Finding("ok", "nothing_found", "Nothing stands in the way."),)


def _failures(report: Report) -> Iterator[Finding]:
    for failure in report.failures:
        yield Finding("problem", "probe_failed", f"{failure}.", "Please report it with the output of --json.")


def _system(report: Report) -> Iterator[Finding]:
    system = report.system
    if system is None:
        return
    if system.state_error:
        yield Finding(
            "problem",
            "state_not_writable",
            f"The state folder {system.state_folder} cannot be used: {system.state_error}.",
            "Make it writable, or set DSPARK_HOME to a folder that is.",
        )
    if system.columns is not None and system.rows is not None and (system.columns < 80 or system.rows < 24):
        yield Finding(
            "warning",
            "terminal_small",
            f"The terminal is {system.columns} columns by {system.rows} rows.",
            "dspark-chat looks best from 80 by 24.",
        )
    if system.columns is not None and system.terminal == "dumb":
        yield Finding("warning", "terminal_dumb", "TERM is dumb.", "dspark-chat needs a terminal with colours.")


def _torch(report: Report) -> Iterator[Finding]:
    torch = report.torch
    if torch is None:
        return
    if torch.error:
        yield Finding(
            "problem", "torch_missing", f"torch does not load: {torch.error}.", "pip install --force-reinstall torch"
        )
    elif torch.release < _OLDEST_TORCH:
        yield Finding(
            "problem", "torch_old", f"torch {torch.version} is too old: 2.6 is needed.", "pip install -U torch"
        )


def _cards(report: Report) -> Iterator[Finding]:
    found, torch = report.survey, report.torch
    if found is None or torch is None or torch.error:
        return
    gpus = found.hardware.gpus
    for gpu in gpus[: found.usable_gpus]:
        if gpu.capability is not None and not torch.has_kernels_for(gpu.capability):
            yield Finding(
                "problem",
                "torch_lacks_architecture",
                f"torch {torch.version} has no kernels for {gpu.name} (compute capability {_dotted(gpu.capability)}).",
                _install_command(gpu),
            )
    if found.usable_gpus:
        return
    nvidia = next((gpu for gpu in gpus if gpu.vendor == "nvidia"), None)
    if nvidia is not None and not found.driver:
        yield Finding(
            "problem",
            "nvidia_driver_missing",
            "An NVIDIA card is there, but its driver does not answer.",
            "Install NVIDIA's driver and check it with nvidia-smi.",
        )
    elif nvidia is not None and torch.is_cpu_only:
        yield Finding(
            "problem",
            "torch_without_cuda",
            f"{nvidia.name} is there, but torch {torch.version} is a CPU build, so the card is not used.",
            _install_command(nvidia),
        )
    elif nvidia is not None:
        yield Finding(
            "problem",
            "cuda_not_available",
            f"{nvidia.name} is there, but torch ({torch.backend}) cannot use it with driver {found.driver}.",
            "Update NVIDIA's driver, or check CUDA_VISIBLE_DEVICES.",
        )
    else:
        seen = f"{gpus[0].name} is seen but not used" if gpus else "There is no graphics card"
        yield Finding(
            "warning",
            "no_usable_gpu",
            f"{seen}: everything runs on the CPU.",
            "`dspark-local plan MODEL --gpu NAME` tells what a card would change.",
        )


def _pinning(report: Report) -> Iterator[Finding]:
    if report.survey is None:
        return
    for gpu in report.survey.hardware.gpus[: report.survey.usable_gpus]:
        limit = gpu.pinned_limit_bytes
        if limit is None:
            continue
        if limit <= 64 * 2**20:
            yield Finding(
                "problem",
                "pinning_refused",
                f"Not even 64 MiB of host memory could be pinned for {gpu.name}, so copies to it are slow.",
                "Raise the limit on locked memory: `ulimit -l unlimited`, or --ulimit memlock=-1 for docker.",
            )
        else:
            yield Finding(
                "warning",
                "pinning_limited",
                f"Windows lets at most {format_gib(limit)}, half of the RAM, be pinned for {gpu.name}.",
                "Under WSL, raise memory= in .wslconfig; Linux itself has no such limit.",
            )


def _memory(report: Report) -> Iterator[Finding]:
    if report.survey is None:
        return
    memory = report.survey.hardware.memory
    if memory.available_bytes < _LEAST_RAM:
        yield Finding(
            "problem",
            "ram_exhausted",
            f"Only {format_gib(memory.available_bytes)} of RAM is available.",
            "Close other programs, or raise the memory limit of the container.",
        )
    elif memory.total_bytes < _LITTLE_RAM:
        yield Finding(
            "warning",
            "ram_small",
            f"{format_gib(memory.total_bytes)} of RAM is little for V4-Flash, whose experts take 137 GiB.",
            "`dspark-local plan deepseek-v4-flash --ram 64GiB` tells what more would change.",
        )


def _cpu(report: Report) -> Iterator[Finding]:
    if report.survey is None or report.system is None:
        return
    sets = report.survey.hardware.cpu.instruction_sets
    if report.system.machine.lower() in {"x86_64", "amd64"} and sets and "avx2" not in sets:
        yield Finding("warning", "no_avx2", "The CPU has no AVX2, so computing on it is very slow.")


def _disk(report: Report) -> Iterator[Finding]:
    if report.survey is None:
        return
    disk = report.survey.hardware.disk
    if disk.free_bytes < LEAST_FREE_BYTES:
        yield Finding(
            "problem",
            "disk_full",
            f"Only {format_bytes(disk.free_bytes)} is free where models are kept ({disk.path}).",
            "Make room, or set HF_HUB_CACHE to a folder on a larger disk.",
        )
    if report.filesystem in _SLOW_FILESYSTEMS:
        yield Finding(
            "warning",
            "disk_of_windows",
            f"Models are kept on a drive of Windows ({report.filesystem}), which WSL reads slowly.",
            "Set HF_HUB_CACHE to a folder of the Linux file system.",
        )
    elif disk.random_read_rate is not None and disk.random_read_rate < _SLOW_DISK:
        yield Finding(
            "warning",
            "disk_slow",
            f"The disk reads experts at {format_bytes(disk.random_read_rate)}/s; what RAM cannot hold waits for it.",
            "Set HF_HUB_CACHE to a folder on an NVMe disk.",
        )


def _hub(report: Report) -> Iterator[Finding]:
    hub = report.hub
    if hub is None:
        return
    if hub.cache_error:
        yield Finding(
            "problem",
            "cache_unusable",
            f"The model cache {hub.cache_folder} cannot be used: {hub.cache_error}.",
            "Correct its permissions, or set HF_HUB_CACHE to another folder.",
        )
    if hub.is_offline:
        yield Finding(
            "warning", "offline", "Offline mode is on, so nothing is downloaded.", "Unset HF_HUB_OFFLINE to download."
        )


def _install_command(gpu: Gpu) -> str:
    """CUDA 13 builds begin with Turing (7.5); older cards need the CUDA 12.6 build."""
    is_old = gpu.capability is not None and gpu.capability < (7, 5)
    index = "cu126" if is_old else "cu130"
    return f"pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{index}"


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
