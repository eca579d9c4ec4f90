"""Runs `dspark-local` commands beside the chat: their JSON, their words, and what they say when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from dspark_local.errors import DsparkError

# -P keeps the current folder off the module path: whatever lies there must not run.
COMMAND = (sys.executable, "-P", "-m", "dspark_local")


async def run_json(*arguments: str) -> dict[str, Any]:
    """The one JSON object that a command writes. Raises DsparkError with the command's own words."""
    code, out, err = await _run(*arguments, "--json")
    try:
        answer = json.loads(out)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or not answer or "error" in answer:
        raise _error(answer if isinstance(answer, dict) else {}, arguments, code, err)
    return answer


async def run_text(*arguments: str, columns: int) -> str:
    """What a command writes for people, at this width. Raises DsparkError when it writes nothing."""
    code, out, err = await _run(*arguments, COLUMNS=str(columns), NO_COLOR="1")
    if not out.strip():
        raise _error({}, arguments, code, err)
    return out


async def start(*arguments: str, **variables: str) -> Process:
    """A command in a session of its own, so that Ctrl+C in this terminal does not reach it. Raises OSError.

    variables are added to its environment.
    """
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **variables},
        start_new_session=True,
    )


async def _run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    try:
        process = await start(*arguments, **variables)
    except OSError as error:
        raise DsparkError(f"dspark-local cannot be started: {error.strerror or error}.") from error
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:  # nobody waits for it any more
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()  # its pipes have to be closed before the event loop is
        raise
    return process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def _error(answer: dict[str, Any], arguments: tuple[str, ...], code: int, err: str) -> DsparkError:
    told = answer.get("error")
    if isinstance(told, dict):
        return DsparkError(str(told.get("message", "")), hint=str(told.get("hint", "")))
    return DsparkError(last_words(err) or f"dspark-local {' '.join(arguments)} ended with exit code {code}.")


def last_words(err: str) -> str:
    """The sentences after `error:` and `hint:`, or else the last line."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    told = [line.partition(":")[2].strip() for line in lines if line.startswith(("error:", "hint:"))]
    return " ".join(told) or (lines[-1] if lines else "")
