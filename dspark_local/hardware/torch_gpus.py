"""Graphics cards as torch sees them, in torch's order: the only ones the native engine can compute on."""

from __future__ import annotations

from dspark_local.hardware.facts import Gpu


def read_torch_gpus() -> tuple[Gpu, ...]:
    """Cards of a CUDA, ROCm or Metal build; empty for a CPU build, without a card or driver, or without torch."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a shared library of torch that the system cannot load
        return ()
    if torch.cuda.is_available():
        return tuple(_card(index) for index in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        return (Gpu("Apple GPU", "apple", None, total, max(0, total - torch.mps.driver_allocated_memory())),)
    return ()


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
