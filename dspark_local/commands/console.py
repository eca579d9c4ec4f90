"""Output that looks good in a terminal of 80 columns and stays plain in a pipe.

NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS are respected, by rich.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from dspark_local.commands.stdout import write_stdout

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_COLUMNS = 100


def console(stream: TextIO | None = None) -> Console:
    """A console on `stream`, by default stdout, without unasked colours; 100 columns where that is no terminal."""
    from rich.console import Console  # 0.1 s that --help should not pay

    screen = Console(file=stream or sys.stdout, highlight=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = PIPE_COLUMNS
    return screen


def show(*parts: RenderableType) -> None:
    """Render to stdout; a reader that left or a full disk is handled as for every other output."""
    screen = console()
    with screen.capture() as captured:
        for part in parts:
            screen.print(part)
    # Padding to the full width is for nobody's eyes, and a pipe would carry it along.
    write_stdout("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    write_stdout(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def short_name(name: str, width: int) -> str:
    """A file's name in `width` columns. The end stays, where the number of a part stands."""
    return name if len(name) <= width else f"…{name[1 - width :]}"
