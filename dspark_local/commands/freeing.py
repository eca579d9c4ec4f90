"""What a program that is about to end gives back: a plan for its successor may count on that memory."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dspark_local.plan.machine import Machine

_SECONDS = 5.0


def without_process(machine: Machine, pid: int) -> Machine:
    """The same computer once the process `pid` has ended; as it is where nobody can tell what that would free."""
    import psutil

    try:
        memory = psutil.Process(pid).memory_info()
    except (psutil.Error, OSError):
        return machine
    # Mapped weights are page cache, which counts as free already.
    own = max(memory.rss - getattr(memory, "shared", 0), 0)
    card = machine.card
    if card is not None:
        card = replace(card, free_bytes=min(card.free_bytes + _bytes_on_cards(pid), card.vram_bytes))
    return replace(machine, card=card, ram_free_bytes=min(machine.ram_free_bytes + own, machine.ram_bytes))


def _bytes_on_cards(pid: int) -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        answer = subprocess.run(
            [tool, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return bytes_of_process(answer.stdout, pid)


def bytes_of_process(text: str, pid: int) -> int:
    """Sum of the lines `PID, MiB` of one process. Lines that say something else count nothing."""
    rows = ([field.strip() for field in line.split(",")] for line in text.splitlines())
    return sum(int(row[1]) * 2**20 for row in rows if len(row) == 2 and row[0] == str(pid) and row[1].isdigit())
