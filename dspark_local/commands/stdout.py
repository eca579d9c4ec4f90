"""Writing results to standard output, whoever reads it."""

from __future__ import annotations

import os
import sys

import typer

from dspark_local.errors import UsageError


def write_stdout(text: str) -> None:
    """Write and flush. When the reader, such as `head`, has had enough, the program ends quietly with success.

    UsageError when standard output cannot be written to, as on a full disk.
    """
    if sys.stdout is None:  # Python's way of saying that the caller closed it
        raise UsageError("Standard output is closed, so there is nowhere to write the answer.")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain at exit about what is still buffered.
        _discard_the_rest()
        raise typer.Exit(0) from None
    except OSError as error:
        _discard_the_rest()
        raise UsageError(
            f"The answer cannot be written to standard output: {error.strerror}.",
            hint="Make room on the disk, or send the output elsewhere.",
        ) from None


def _discard_the_rest() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
