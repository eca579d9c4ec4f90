"""Graphics cards as torch sees them, in torch's order: the only ones the native engine can compute on."""

from __future__ import annotations

from dspark_local.hardware.facts import Gpu


def read_torch_gpus() -> tuple[Gpu, ...]:
    """Cards of a CUDA or ROCm build; empty for another build, without a card or driver, or without torch."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a shared library of torch that the system cannot load
        return ()
    if not torch.cuda.is_available():
        return ()
    return tuple(_card(index) for index in range(torch.cuda.device_count()))


def read_metal_gpu() -> tuple[Gpu, ...]:
    """The graphics of an Apple chip, with the memory that Metal would let torch use; the engine does not compute there.

    Empty elsewhere.
    """
    try:
        import torch
    except (ImportError, OSError):
        return ()
    if not torch.backends.mps.is_available():
        return ()
    total = torch.mps.recommended_max_memory()
    return (Gpu("Apple graphics", "apple", None, total, max(0, total - torch.mps.driver_allocated_memory())),)


def _card(index: int) -> Gpu:
    import torch

    properties = torch.cuda.get_device_properties(index)
    is_nvidia = torch.version.hip is None
    try:
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError:  # the card is full or in exclusive use: it is there, with nothing to give
        free, total = 0, properties.total_memory
    return Gpu(
        name=properties.name,
        vendor="nvidia" if is_nvidia else "amd",
        capability=(properties.major, properties.minor) if is_nvidia else None,
        vram_bytes=total,
        free_vram_bytes=free,
    )
