"""What NVIDIA's driver says of its cards, for a torch that was built without CUDA."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from dspark_local.hardware.facts import Gpu

_QUERY = "driver_version,name,compute_cap,memory.total,memory.free"
_WSL_TOOL = Path("/usr/lib/wsl/lib/nvidia-smi")  # often not on PATH
_SECONDS = 5.0


class NvidiaCards(NamedTuple):
    """The version of the driver and the cards it drives; an empty version without a driver."""

    driver: str
    gpus: tuple[Gpu, ...]


def read_nvidia_cards() -> NvidiaCards:
    """Ask nvidia-smi; without it, or when it fails or takes more than five seconds, there are no cards."""
    tool = shutil.which("nvidia-smi") or (str(_WSL_TOOL) if _WSL_TOOL.exists() else None)
    if tool is None:
        return NvidiaCards("", ())
    try:
        answer = subprocess.run(
            [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return NvidiaCards("", ())
    return parse_nvidia_smi(answer.stdout) if answer.returncode == 0 else NvidiaCards("", ())


def parse_nvidia_smi(text: str) -> NvidiaCards:
    """One card a line: driver, name, compute capability, total and free MiB. Lines that say something else are left."""
    driver, gpus = "", []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 5 or not (fields[3].isdigit() and fields[4].isdigit()):
            continue
        major, _, minor = fields[2].partition(".")
        driver = fields[0]
        gpus.append(
            Gpu(
                name=fields[1],
                vendor="nvidia",
                capability=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else None,
                vram_bytes=int(fields[3]) * 2**20,
                free_vram_bytes=int(fields[4]) * 2**20,
            )
        )
    return NvidiaCards(driver, tuple(gpus))
