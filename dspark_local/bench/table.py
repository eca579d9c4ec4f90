"""The comparison as aligned text for people, 80 columns wide at most."""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.bench.comparison import WayFigures
from dspark_local.engine.step_costs import StepCosts

NOTHING = "–"

_HEAD = ("way", "tok/s", "ratio", "range", "length", "verified", "kept", "bytes/token")

LEGEND = """\
tok/s      tokens a second without the prefill, the median run's
ratio      speed relative to plain decoding in the same run: median and range
length     tokens a target pass
verified   drafts verified a target pass; kept: the share of them that was kept
bytes      of expert weights fetched, by the target and the draft
bound      not run but computed, what a clairvoyant schedule would reach: the
           rounds of the longest `always`, each verifying just what is kept, or
           plain where that is cheaper, at what passes took in the same run.
           Text that is looked up and longer blocks are left out."""


def comparison_table(title: str, ways: Sequence[WayFigures]) -> str:
    """The table of one domain, a remark under it where greedy answers differ."""
    rows = [_HEAD, *(_cells(way) for way in ways)]
    lines = [title, *aligned(rows)]
    differing = {way.name: way.differing for way in ways if way.differing}
    if differing:
        answers = ", ".join(f"{count} of {name}" for name, count in differing.items())
        lines.append(f"Answers with other tokens than plain decoding's: {answers}.")
        lines.append("Passes of several rows round differently; in float32 they do not.")
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, all of as many cells: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def costs_lines(costs: StepCosts, block_size: int) -> str:
    """What was measured before the first answer: a pass of one row, and wider ones and a draft relative to it."""
    plain = costs.verify_seconds(1)
    rows = "  ".join(f"{rows}: {costs.verify_seconds(rows) / plain:.2f}" for rows in range(2, block_size + 2))
    draft = costs.draft_seconds(block_size) / plain
    return f"a plain pass takes {1000 * plain:.1f} ms, a draft {draft:.2f} of it\nby rows  {rows}"


def _cells(way: WayFigures) -> tuple[str, ...]:
    figures = way.all_runs
    low, high = way.ratio_range
    return (
        way.name,
        f"{way.tokens_per_second:.1f}" if way.tokens_per_second < 1000 else f"{way.tokens_per_second:,.0f}",
        f"{way.ratio:.2f}",
        f"{low:.2f}–{high:.2f}" if len(way.ratios) > 1 else NOTHING,
        f"{figures.accepted_length:.2f}",
        f"{figures.verified_per_pass:.2f}",
        NOTHING if figures.kept_share is None else f"{figures.kept_share:.0%}",
        NOTHING if figures.expert_bytes_per_token is None else _bytes(figures.expert_bytes_per_token),
    )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} GB"
