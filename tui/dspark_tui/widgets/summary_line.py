"""How one conversation looks in the list: two lines that fit any width."""

from __future__ import annotations

import time

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from dspark_tui.store_search import Summary


def when(seconds: float, now: float) -> str:
    """Like `14:05` today, `Mon 14:05` this week, `12 Mar` this year, else `2024-03-12`."""
    moment, today = time.localtime(seconds), time.localtime(now)
    if moment[:3] == today[:3]:
        return time.strftime("%H:%M", moment)
    if 0 <= now - seconds < 6 * 86400:
        return time.strftime("%a %H:%M", moment)
    if moment.tm_year == today.tm_year:
        return f"{moment.tm_mday} {time.strftime('%b', moment)}"
    return time.strftime("%Y-%m-%d", moment)


def summary_text(summary: Summary, words: list[str], width: int, now: float) -> Text:
    """Title and time; below, dim, the piece that was found, or the size and the model."""
    moment = when(summary.updated_at, now)
    room = max(width - len(moment) - 1, 8)
    title = summary.title or "(without words)"
    if cell_len(title) > room:
        title = set_cell_size(title, room - 1).rstrip() + "…"
    below = summary.snippet or " · ".join(filter(None, (f"{summary.messages:,} messages", summary.model)))
    second = set_cell_size(f"  {below}", width) if cell_len(below) > width - 2 else f"  {below}"
    head = Text(set_cell_size(title, room) + " ", no_wrap=True)
    head.append(moment, "dim")
    tail = Text(second, "dim", no_wrap=True)
    for line in (head, tail):
        line.highlight_words(words, "bold underline not dim", case_sensitive=False)
    return Text("\n", no_wrap=True).join((head, tail))
