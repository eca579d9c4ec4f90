"""Tables without lines, which read well at 80 columns, in a pipe and to `cut`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*headings: str) -> Table:
    """A table with these headings; one that starts with > is of numbers, set to the right. Long cells are folded."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        is_number = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    return table
