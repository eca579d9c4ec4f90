"""Writing results to standard output, whoever reads it."""

from __future__ import annotations

import os
import sys

import typer


def write_stdout(text: str) -> None:
    """Write and flush. When the reader, such as `head`, has had enough, the program ends quietly with success."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain at exit about what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
