"""Where a command's input comes from: an argument, a pipe, a file of text or of token ids."""

from __future__ import annotations

import contextlib
import json
import select
import sys
from pathlib import Path

from dspark_local.errors import UsageError

PATIENCE_SECONDS = 2.0


def read_prompt(argument: str | None) -> str:
    """The prompt argument, what is piped in, or both with an empty line between. UsageError when there is none."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _read_pipe()
    parts = [part for part in (argument or "", piped.rstrip("\n")) if part.strip()]
    if not parts:
        raise UsageError("There is no prompt.", hint='Give one, as in: dspark-local run "What is 12 * 7?"')
    return "\n\n".join(parts)


def read_text_file(path: Path) -> str:
    """A text file; `-` is standard input. UsageError when it cannot be read."""
    if str(path) == "-":
        return _read_pipe()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {_reason(error)}.", hint="Check the path.") from error


def read_token_file(path: Path) -> list[int]:
    """A JSON list of token ids. UsageError when it cannot be read or is something else."""
    hint = "The file must hold a JSON list of integers, such as [0, 128803, 19923]."
    try:
        ids = json.loads(read_text_file(path))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.", hint=hint) from error
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise UsageError(f"{path} holds no list of token ids.", hint=hint)
    if not ids:
        raise UsageError(f"{path} holds an empty list: there is no token to start from.", hint=hint)
    return ids


def _read_pipe() -> str:
    _explain_a_long_wait()
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"What was piped in is not UTF-8 text: {error}.") from error


def _explain_a_long_wait() -> None:
    """A pipe that nobody writes to or closes would look like a hang."""
    with contextlib.suppress(OSError, ValueError):  # Windows can only wait for sockets
        if not select.select([sys.stdin], [], [], PATIENCE_SECONDS)[0]:
            print("Waiting for standard input to end; add < /dev/null to go on without.", file=sys.stderr, flush=True)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
