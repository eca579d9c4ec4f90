"""Cards that people ask about without having them. Figures are the makers' published specifications.

gb_per_s is the memory's peak; pcie is generation x lanes, as the card is wired.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dspark_local.errors import UsageError

# What copies from pinned memory reach of each generation over 16 lanes, in bytes a second: 78 % of the raw rate.
_SIXTEEN_LANES = {3: 12.3e9, 4: 25.5e9, 5: 50e9}
_LINK = re.compile(r"(?:gen|pcie)?\s*([345])(?:\.0)?(?:\s*x\s*(\d+))?", re.IGNORECASE)
_IGNORED = re.compile(r"nvidia|geforce|\bgpu\b|\(tm\)|[^a-z0-9 ]")
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class KnownCard:
    """vram_bytes as the card makers print it; memory_rate and link_rate in bytes a second."""

    name: str
    vram_bytes: int
    memory_rate: float
    link_rate: float
    capability: tuple[int, int]


@cache
def known_cards() -> tuple[KnownCard, ...]:
    """All of them, oldest first."""
    entries = json.loads((files("dspark_local.plan") / "known_cards.json").read_text(encoding="utf-8"))
    return tuple(
        KnownCard(
            name=entry["name"],
            vram_bytes=entry["vram_gib"] * 2**30,
            memory_rate=entry["gb_per_s"] * 1e9,
            link_rate=link_rate(entry["pcie"]),
            capability=(entry["capability"][0], entry["capability"][1]),
        )
        for entry in entries
    )


def find_card(text: str) -> KnownCard | None:
    """The card whose name this is: case, maker's name and spaces do not matter.

    RTX or GTX in front and a memory size at the end may be left out.
    """
    wanted = _plain(text)
    for left_out in (r"^$", r" \d+GB$", r"^[RG]TX", r"^[RG]TX| \d+GB$"):
        for card in known_cards():
            if wanted and wanted == _plain(re.sub(left_out, "", card.name)):
                return card
    return None


def card_named(text: str) -> KnownCard:
    """As find_card; UsageError with the closest names for a card that nobody entered."""
    card = find_card(text)
    if card is None:
        by_name = {_plain(known.name): known.name for known in known_cards()}
        close = [by_name[key] for key in difflib.get_close_matches(_plain(text), by_name, n=_SHOWN, cutoff=0.5)]
        likely = f"Did you mean {', '.join(close)}? " if close else ""
        raise UsageError(
            f"The card {text!r} is not known.", hint=f"{likely}For any other card give --vram, such as --vram 12GiB."
        )
    return card


def typical_card(vram_bytes: int) -> KnownCard:
    """The card of the nearest memory size whose bandwidth is the middle one among its equals."""
    distance = min(abs(card.vram_bytes - vram_bytes) for card in known_cards())
    alike = [card for card in known_cards() if abs(card.vram_bytes - vram_bytes) == distance]
    return sorted(alike, key=lambda card: card.memory_rate)[(len(alike) - 1) // 2]


def link_rate(text: str) -> float:
    """`4x16`, `gen4`, `PCIe 4.0 x8` -> bytes a second from pinned host memory. ValueError for anything else."""
    match = _LINK.fullmatch(text.strip())
    if match is None or int(match[2] or 16) not in (1, 2, 4, 8, 16):
        raise ValueError(f"{text!r} is no PCIe link")
    return _SIXTEEN_LANES[int(match[1])] * int(match[2] or 16) / 16


def _plain(name: str) -> str:
    return _IGNORED.sub(" ", name.lower()).replace(" ", "")
