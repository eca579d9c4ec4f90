"""How fast a card reads its own memory, and how fast pinned host memory reaches it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from dspark_local.hardware.unmeasured import NotMeasuredError

_ON_CARD_BYTES = 2**30  # well above the 128 MB second-level caches of today's largest cards
_PINNED_BYTES = 64 * 2**20  # torch keeps it for later, so no more than the rate needs
_LEAST_FREE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class GpuRates:
    """Bytes a second. host_to_device_rate is None when the system refused to pin 64 MiB."""

    memory_rate: float
    host_to_device_rate: float | None


def measure_gpu(index: int, seconds: float = 0.3) -> GpuRates:
    """Rates of torch's card `index`, each measured for `seconds`; the best repetition counts.

    A copy on the card reads and writes each byte, so its traffic is twice its size. Raises NotMeasuredError when the
    card has less than 512 MiB free or the driver refuses.
    """
    import torch

    try:
        with torch.cuda.device(index):
            return _measure_current(seconds)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise NotMeasuredError(f"The card could not be measured: {reason}.") from error
    finally:
        torch.cuda.empty_cache()  # else the next look would find this much less memory free


def _measure_current(seconds: float) -> GpuRates:
    import torch

    free, _ = torch.cuda.mem_get_info()
    if free < _LEAST_FREE_BYTES:
        raise NotMeasuredError(f"Only {free / 2**20:,.0f} MiB is free on the card, too little to measure it.")
    size = min(_ON_CARD_BYTES, free // 2) // 2
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    target = torch.zeros(size, dtype=torch.uint8, device="cuda")
    memory_rate = 2 * size / _best_seconds(lambda: target.copy_(source), seconds)
    try:
        host = torch.zeros(_PINNED_BYTES, dtype=torch.uint8).pin_memory()
    except RuntimeError:
        return GpuRates(memory_rate, None)
    landing = target[:_PINNED_BYTES]
    copy_seconds = _best_seconds(lambda: landing.copy_(host, non_blocking=True), seconds)
    return GpuRates(memory_rate, landing.numel() / copy_seconds)


def _best_seconds(action: Callable[[], object], budget: float) -> float:
    """Shortest of the repetitions within the budget, which also wakes a link that saves power when idle."""
    import torch

    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    best = math.inf
    end = time.monotonic() + budget
    while True:
        start.record()
        action()
        stop.record()
        stop.synchronize()
        milliseconds: float = start.elapsed_time(stop)
        best = min(best, milliseconds / 1000)
        if time.monotonic() >= end:
            return best
