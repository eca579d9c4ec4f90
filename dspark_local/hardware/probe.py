"""The computer as it is: facts read anew each time, rates measured once and kept until the machine changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dspark_local.hardware.cpu import read_cpu
from dspark_local.hardware.disk import nearest_existing, read_disk
from dspark_local.hardware.disk_rate import measure_random_reads
from dspark_local.hardware.facts import Cpu, Gpu, Hardware, Memory
from dspark_local.hardware.gpu_rate import measure_gpu
from dspark_local.hardware.gpus import GpuList, read_gpus
from dspark_local.hardware.measurements import GpuMeasurement, Measurements, fingerprint, load, store
from dspark_local.hardware.memory import read_memory
from dspark_local.hardware.pinned import locked_memory_limit, pinned_limit
from dspark_local.hardware.ram_rate import measure_read_rate
from dspark_local.hardware.unmeasured import NotMeasuredError
from dspark_local.hardware.wsl import is_wsl
from dspark_local.paths import state_dir

VERSION = 1  # raise it when a measurement changes its meaning

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """The hardware and what else came to light.

    usable_gpus    how many of hardware.gpus, from the first, torch can compute on
    driver         version of NVIDIA's driver, empty without one
    remarks        sentences that say what was not measured and why, by "cpu", "disk" and "gpu"
    """

    hardware: Hardware
    usable_gpus: int
    driver: str
    remarks: dict[str, str]


def probe(folder: Path, *, refresh: bool = False, progress: Progress | None = None) -> Hardware:
    """The hardware, with the disk of `folder`; measures in a few seconds what is not known of this machine yet.

    refresh measures again. progress is told what is being measured. Nothing here needs a graphics card, and what
    cannot be measured is None. Raises OSError only when the disk of `folder` cannot be asked at all.
    """
    return survey(folder, refresh=refresh, progress=progress).hardware


def survey(folder: Path, *, measure: bool = True, refresh: bool = False, progress: Progress | None = None) -> Survey:
    """As `probe`, with what it found worth saying; measure=False takes only rates that are already known."""
    found = read_gpus()
    memory = read_memory()
    cpu = read_cpu()
    disk = read_disk(folder)
    wsl = is_wsl()
    key = _key(cpu, memory, found, folder)
    path = _cache_file()
    known = (load(path, key) if path is not None else None) or Measurements()
    remarks: dict[str, str] = {}
    if measure:
        before = known
        known = _measure(Measurements() if refresh else before, cpu, memory, found.usable, folder, progress, remarks)
        if path is not None and known != before:
            store(path, key, known)
    limit = pinned_limit(memory.total_bytes, wsl)
    gpus = [
        _with_rates(gpu, known.gpus[index] if index < len(known.gpus) else GpuMeasurement(), limit)
        if index < found.usable
        else gpu
        for index, gpu in enumerate(found.gpus)
    ]
    hardware = Hardware(
        gpus=tuple(gpus),
        cpu=replace(cpu, read_rate=known.cpu_read_rate),
        memory=memory,
        disk=replace(disk, random_read_rate=known.disk_random_read_rate),
        is_wsl=wsl,
    )
    return Survey(hardware, found.usable, found.driver, remarks)


def _measure(
    known: Measurements,
    cpu: Cpu,
    memory: Memory,
    gpus: int,
    folder: Path,
    progress: Progress | None,
    remarks: dict[str, str],
) -> Measurements:
    """Everything that is not known yet."""

    def attempt(name: str, said: str, action: Callable[[], float]) -> float | None:
        _say(progress, said)
        try:
            return action()
        except NotMeasuredError as error:
            remarks[name] = str(error)
        except (OSError, MemoryError) as error:
            remarks[name] = f"It could not be measured: {error or type(error).__name__}."
        return None

    cpu_rate = known.cpu_read_rate or attempt(
        "cpu", "measuring memory bandwidth", lambda: measure_read_rate(cpu.cores, memory.available_bytes)
    )
    disk_rate = known.disk_random_read_rate or attempt(
        "disk", "measuring the disk", lambda: measure_random_reads(folder)
    )
    cards = []
    for index in range(gpus):
        card = known.gpus[index] if index < len(known.gpus) else GpuMeasurement()
        if card.memory_rate is None:
            _say(progress, f"measuring graphics card {index}")
            try:
                rates = measure_gpu(index)
            except NotMeasuredError as error:
                remarks["gpu"] = str(error)
            else:
                card = GpuMeasurement(
                    memory_rate=rates.memory_rate,
                    host_to_device_rate=rates.host_to_device_rate,
                    pinning_works=rates.host_to_device_rate is not None,
                )
        cards.append(card)
    return Measurements(cpu_read_rate=cpu_rate, disk_random_read_rate=disk_rate, gpus=tuple(cards))


def _say(progress: Progress | None, step: str) -> None:
    if progress is not None:
        progress(step)


def _with_rates(gpu: Gpu, measured: GpuMeasurement, limit: int | None) -> Gpu:
    return replace(
        gpu,
        memory_rate=measured.memory_rate,
        host_to_device_rate=measured.host_to_device_rate,
        pinned_limit_bytes=limit if measured.pinning_works else min(locked_memory_limit() or 0, 64 * 2**20),
    )


def _key(cpu: Cpu, memory: Memory, found: GpuList, folder: Path) -> str:
    """What a rate depends on. Total RAM varies by megabytes between kernels, so it is rounded."""
    return fingerprint(
        VERSION,
        cpu.model,
        cpu.cores,
        cpu.threads,
        round(memory.total_bytes / 2**30),
        [(gpu.name, gpu.vram_bytes) for gpu in found.gpus],
        found.driver,
        nearest_existing(folder).stat().st_dev,
    )


def _cache_file() -> Path | None:
    try:
        return state_dir() / "hardware.json"
    except OSError:
        return None
