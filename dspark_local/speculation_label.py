"""The words for people about how speculation fares. A pure function of plain data; loads no torch."""

from __future__ import annotations

import math

from dspark_local.events import SpeculationState


def speculation_label(state: SpeculationState, *, brief: bool = False) -> str:
    """Like `on, 2 of 5, +18 %`, `paused: costs 6 %` or `off`; figures not measured yet are left out.

    A brief one keeps the figure that matters most: `+18 %`, `2/5`, `paused`.
    """
    percent = None if state.gain is None else _rounded(100 * state.gain)
    if state.phase == "off":
        return "off"
    if state.phase == "paused":
        return "paused" if percent is None or brief else f"paused: {_prospect(percent)}"
    gain = "" if percent is None else f"{percent:+d} %" if percent else "0 %"
    if brief:
        return gain or _checked(state, "/") or "on"
    return ", ".join(part for part in ("on", _checked(state, " of "), gain) if part)


def _prospect(percent: int) -> str:
    """What drafts would do to the speed if they were verified now."""
    if percent == 0:
        return "gains nothing"
    return f"costs {-percent} %" if percent < 0 else f"would gain {percent} %"


def _checked(state: SpeculationState, of: str) -> str:
    """Drafts verified a round of those a block holds, in whole drafts; a few are never shown as none.

    Drafts looked up in the prompt are no block: there may be more of them, or no draft that has a block at all.
    """
    if state.verified <= 0:
        return ""
    drafts = _rounded(state.verified)
    size = f"{of}{state.block_size}" if drafts <= state.block_size else " a round"
    return f"{drafts or '<1'}{size}"


def _rounded(value: float) -> int:
    """To the nearest whole number, halves away from zero; Python's round() would take 2.5 to 2."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
