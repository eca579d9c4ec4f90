"""The processor: its name, what it can do and how much of it this process may use."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from dspark_local.hardware.cgroup import cpu_quota
from dspark_local.hardware.facts import Cpu

# Those that decide how fast matrix work can be, in the order shown; the kernel's name on the left.
_INSTRUCTION_SETS = {
    "avx2": "avx2",
    "f16c": "f16c",
    "fma": "fma",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_tile": "amx",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}


def read_cpu(root: Path = Path("/"), allowed: Iterable[int] | None = None) -> Cpu:
    """The facts that need no measuring.

    root       where /proc and /sys are found
    allowed    numbers of the logical processors to count, by default those this process is bound to
    """
    model, flags = parse_cpuinfo(_text(root / "proc/cpuinfo"))
    processors = sorted(_affinity() if allowed is None else allowed)
    cores = _physical_cores(root, processors)
    threads = len(processors)
    quota = cpu_quota(root)
    if quota is not None:
        threads = min(threads, max(1, math.ceil(quota)))
    return Cpu(
        model=model or _model_elsewhere(),
        cores=min(cores, threads),
        threads=threads,
        instruction_sets=tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)
        or _instruction_sets_of_torch(),
    )


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """(model name, flags) of the first processor in /proc/cpuinfo; empty where the text does not say."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name", ""), frozenset(flags.split())


def _affinity() -> Iterable[int]:
    if hasattr(os, "sched_getaffinity"):  # absent on macOS and Windows
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _physical_cores(root: Path, processors: list[int]) -> int:
    """Distinct cores behind the logical processors; two threads of one core read memory no faster than one."""
    topology = set()
    for number in processors:
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        topology.add((_text(folder / "physical_package_id"), _text(folder / "core_id")))
    if topology != {("", "")}:
        return len(topology)
    import psutil

    return min(psutil.cpu_count(logical=False) or len(processors), len(processors))


def _model_elsewhere() -> str:
    """The name where /proc/cpuinfo has none: macOS, Windows and most ARM boards."""
    if platform.system() == "Darwin":
        try:
            answer = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=2
            )
        except (OSError, subprocess.TimeoutExpired):
            answer = None
        if answer and answer.stdout.strip():
            return answer.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def _instruction_sets_of_torch() -> tuple[str, ...]:
    """What torch found, where the system does not list it; torch names only the widest set it has code for."""
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return ("neon",)
    try:
        from torch.backends.cpu import get_cpu_capability
    except (ImportError, OSError):
        return ()
    capability = get_cpu_capability()
    return {"AVX2": ("avx2",), "AVX512": ("avx2", "avx512f")}.get(capability, ())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
