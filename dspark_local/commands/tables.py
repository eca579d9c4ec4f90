"""Tables without lines, which read well at 80 columns, in a pipe and to `cut`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*headings: str) -> Table:
    """A table with these headings. > in front of one sets its column to the right, | leaves it to the left.

    Either keeps its cells on one line; the other columns are folded where the screen is too narrow.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        title = heading.lstrip(">|")
        table.add_column(
            title,
            justify="right" if heading.startswith(">") else "left",
            no_wrap=title != heading,
            overflow="fold",
        )
    return table
