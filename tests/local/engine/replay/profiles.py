"""What rounds cost on computers that keep experts outside graphics memory.

tests/golden/offload_profiles.json has the numbers and says how they came about. A profile is one computer, one engine
and one kind of text; it knows nothing of drafts being kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "offload_profiles.json"
OFFLOADED_DESKTOP = "off-loaded desktop"


@dataclass(frozen=True, slots=True)
class Profile:
    """Times in milliseconds, noise taken out.

    plain_ms   one token of plain decoding, no draft in memory
    verify_ms  six passes of the target over 1..6 rows: index k verifies k drafts
    draft_ms   drafting one block, whatever part of it is verified
    step_cv    standard deviation of one pass over its mean, at an unchanged number of rows
    """

    name: str
    kind: str
    engine: str
    workload: str
    plain_ms: float
    verify_ms: tuple[float, ...]
    draft_ms: float
    step_cv: float

    @property
    def is_offloaded_desktop(self) -> bool:
        """Most experts outside the graphics memory of an ordinary desktop: no server's RAM, no laptop, no H200."""
        return self.kind == OFFLOADED_DESKTOP

    def round_ms(self, draft_tokens: int) -> float:
        """Drafting a block and verifying its first `draft_tokens` (0..5); plain rounds are plain_ms, not this."""
        return self.draft_ms + self.verify_ms[draft_tokens]


@cache
def offload_profiles() -> tuple[Profile, ...]:
    """All 48: the engines baseline and target, eight computers each, the texts chat, code and math each."""
    return tuple(
        Profile(
            name=entry["name"],
            kind=entry["kind"],
            engine=entry["engine"],
            workload=workload,
            plain_ms=entry["plain_ms"],
            verify_ms=tuple(verify_ms),
            draft_ms=entry["draft_ms"],
            step_cv=entry["step_cv"],
        )
        for entry in json.loads(GOLDEN.read_text())["profiles"]
        for workload, verify_ms in entry["verify_ms"].items()
    )


def profile_of(name_start: str, engine: str, workload: str) -> Profile:
    """The one profile whose name starts so. Raises ValueError when there are none or several."""
    found = [
        profile
        for profile in offload_profiles()
        if profile.name.startswith(name_start) and (profile.engine, profile.workload) == (engine, workload)
    ]
    if len(found) != 1:
        names = sorted({profile.name for profile in offload_profiles()})
        raise ValueError(f"{len(found)} profiles for {name_start!r}, {engine}, {workload}; names are {names}")
    return found[0]
