"""All graphics cards of this computer: those the engine can use first, then those that are only there."""

from __future__ import annotations

from dataclasses import dataclass

from dspark_local.hardware.display_cards import read_display_cards
from dspark_local.hardware.facts import Gpu
from dspark_local.hardware.nvidia_smi import read_nvidia_cards
from dspark_local.hardware.torch_gpus import read_metal_gpu, read_torch_gpus


@dataclass(frozen=True, slots=True)
class GpuList:
    """gpus[:usable] are those the engine can compute on, in torch's order; driver is NVIDIA's version, or empty."""

    gpus: tuple[Gpu, ...]
    usable: int
    driver: str


def read_gpus() -> GpuList:
    """Ask torch, then NVIDIA's driver, then the system; each vendor is taken from the first that knows its cards."""
    usable = read_torch_gpus()
    nvidia = read_nvidia_cards()
    gpus = list(usable)
    for seen in (nvidia.gpus, read_display_cards(), read_metal_gpu()):
        vendors = {gpu.vendor for gpu in gpus}
        gpus += [gpu for gpu in seen if gpu.vendor not in vendors]
    return GpuList(tuple(gpus), len(usable), nvidia.driver)
