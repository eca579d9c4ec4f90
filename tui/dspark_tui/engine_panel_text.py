"""The words, bars and colours of the engine panel. Pure functions of plain values.

Sources differ by weight and underline as well as by colour, so that they can be told apart without any.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from dspark_local.engine_facts import EngineFacts
from dspark_local.sizes import format_bytes, format_gib
from dspark_local.speculation_label import speculation_label
from dspark_tui.engine_panel_figures import AnswerFigures, PanelFigures
from dspark_tui.token_sources import Source, TokenSources

STYLES: dict[Source, str] = {"draft": "$text-primary", "lookup": "underline $text-success", "own": "bold"}
_NAMES: dict[Source, str] = {"draft": "drafted", "lookup": "copied", "own": "own"}
_HEADING = "bold $text-primary"
_MUTED = "$foreground 70%"
"""A share of the theme's own: `$text-muted` follows the background, which spans of a text do not know of."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_PLACES = 6


def answer_text(sources: TokenSources, characters: int) -> Content:
    """The end of the latest answer, coloured."""
    if not sources.runs and not sources.revision:
        return Content.styled("The next answer appears here, coloured by where its tokens came from.", _MUTED)
    styles = STYLES if sources.is_told else {}
    return Content.assemble(*((text, styles.get(source, "")) for text, source in sources.tail(characters)))


def legend(sources: TokenSources, width: int, *, is_answered: bool) -> Content:
    """Sources by name, in their own colours, with shares, and with tokens where the line has room for them."""
    if not sources.is_told and is_answered:
        return Content.styled("This server does not tell where its tokens come from.", _MUTED)
    total = sum(sources.counts.values())
    line = Content()
    for between, has_counts in ((" · ", True), (" · ", False), ("  ", False)):
        parts: list[Content] = []
        for source, name in _NAMES.items():
            count = sources.counts[source]
            share = f" {f'{count:,}, ' if has_counts else ''}{count / total:.0%}" if total else ""
            parts.append(Content.assemble((name, STYLES[source]), (share, _MUTED)))
        line = Content(between).join(parts)
        if line.cell_length <= width:
            break
    return line


def speculation_lines(figures: PanelFigures, width: int) -> Content:
    """The state in words, acceptance by place as bars, passes, and what the time went into."""
    answer = figures.answer
    state = speculation_label(figures.speculation) if figures.speculation is not None else ""
    lines = [Content.assemble(("Speculation ", _HEADING), state)]
    lines += _acceptance(answer, width)
    if answer.passes:
        lines.append(Content(f"{answer.accepted_length:.2f} tokens a pass, {answer.passes:,} passes"))
    if (share := answer.drafting_share) is not None:
        lines.append(Content(f"time: {share:.0%} drafting, {1 - share:.0%} verifying"))
    if len(lines) == 1:
        lines.append(Content.styled("no pass yet", _MUTED))
    return _lines(lines)


def _acceptance(answer: AnswerFigures, width: int) -> list[Content]:
    """Kept of checked drafts by place. Copies make blocks of up to 24: the later places share one line."""
    checked, kept = answer.verified_at, answer.accepted_at
    places = [(f"{i + 1:>2}", sum(kept[i : i + 1]), count) for i, count in enumerate(checked[:_MOST_PLACES])]
    if len(checked) > _MOST_PLACES:
        places.append((f"{_MOST_PLACES + 1:>2}+", sum(kept[_MOST_PLACES:]), sum(checked[_MOST_PLACES:])))
    lines = []
    for name, good, count in places:
        numbers = f" {good / count:>4.0%} {good:,}/{count:,}"
        room = max(width - 4 - 17, 5)
        lines.append(Content.assemble((f"{name:<3} ", _MUTED), (bar(good / count, room), "$text-success"), numbers))
    return lines


def memory_lines(facts: EngineFacts | None, width: int, *, is_ours: bool) -> Content:
    """What is held of VRAM and RAM beside the plan, and the bytes that experts moved."""
    lines = [Content.styled("Memory", _HEADING)]
    if facts is None:
        reason = "asking the engine" if is_ours else "This server does not tell about its memory."
        return _lines([*lines, Content.styled(reason, _MUTED)])
    if facts.vram is not None:
        vram = facts.vram
        lines += _gauge("VRAM", vram.process_bytes, vram.total_bytes, width)
        lines.append(_muted(f"     plan {format_gib(facts.planned_in('vram'))}, {format_gib(vram.free_bytes)} free"))
    lines += _gauge("RAM", facts.ram.process_bytes, facts.ram.total_bytes, width)
    planned = f"plan {format_gib(facts.planned_in('ram'))}, " if facts.planned_in("ram") else ""
    lines.append(_muted(f"     {planned}{format_gib(facts.ram.available_bytes)} available"))
    if mapped := facts.planned_in("disk"):
        lines.append(_muted(f"     {format_bytes(mapped)} of weights mapped from disk"))
    if facts.vram is None:
        lines.append(_muted(f"no VRAM: the model computes on the {facts.device.upper()}"))
    moved = f"experts: {format_bytes(facts.experts.read_bytes)} read"
    if facts.vram is not None:
        moved += f", {format_bytes(facts.experts.copied_bytes)} of it to the card"
    lines.append(Content(f"{moved}, {facts.experts.fetches:,} fetches"))
    return _lines(lines)


def session_lines(figures: PanelFigures, facts: EngineFacts | None) -> Content:
    """Everything since the chat was opened, and how busy the engine is with others."""
    plural = "" if figures.answers == 1 else "s"
    total = f"{figures.answers:,} answer{plural}, {figures.tokens:,} tokens"
    if figures.tokens_per_second:
        total += f", {figures.tokens_per_second:.1f} tok/s"
    lines = [Content.assemble(("Session ", _HEADING), total)]
    if facts is not None:
        waiting = f", {facts.waiting} waiting" if facts.waiting else ""
        lines.append(_muted(f"{facts.running} of {facts.slots} slots busy{waiting}, up {_duration(facts)}"))
    return _lines(lines)


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` columns, filled to `share` (0 to 1) in eighths of a column."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width, "░")


def _gauge(name: str, used: int, total: int, width: int) -> list[Content]:
    numbers = f" {format_gib(used)} of {format_gib(total)}"
    room = max(width - 5 - len(numbers), 4)
    share = used / total if total else 0.0
    style = "$text-error" if share > 0.95 else "$text-primary"
    return [Content.assemble((f"{name:<5}", _MUTED), (bar(share, room), style), numbers)]


def _duration(facts: EngineFacts) -> str:
    minutes, hours = divmod(int(facts.uptime_seconds), 60)[0] % 60, int(facts.uptime_seconds) // 3600
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _muted(text: str) -> Content:
    return Content.styled(text, _MUTED)


def _lines(lines: Iterable[Content]) -> Content:
    return Content("\n").join(lines)
