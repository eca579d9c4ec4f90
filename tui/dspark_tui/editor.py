"""A text or a file in the person's own editor. The terminal is the editor's meanwhile; an answer goes on arriving."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from dspark_local.errors import DsparkError, MissingDependencyError

_USUAL = ("nano", "vim", "vi", "notepad")


def editor_command() -> list[str]:
    """$VISUAL, $EDITOR, or a usual one that is installed. Raises MissingDependencyError, DsparkError."""
    for name in ("VISUAL", "EDITOR"):
        if words := os.environ.get(name, "").strip():
            try:
                return shlex.split(words, posix=os.name != "nt")
            except ValueError as error:
                raise DsparkError(f"${name} cannot be read as a command: {words}: {error}.") from error
    if (found := next(filter(shutil.which, _USUAL), None)) is None:
        raise MissingDependencyError("No editor was found.", hint="Set $EDITOR to one.")
    return [found]


async def edit_text(app: App[Any], text: str, suffix: str) -> str:
    """`text` as it was saved in the editor. Raises DsparkError, OSError, UnicodeDecodeError."""
    with tempfile.TemporaryDirectory(prefix="dspark-prompt-") as folder:  # made with mode 0700
        path = Path(folder) / f"prompt{suffix}"
        path.write_text(text, encoding="utf-8")
        await edit_file(app, path)
        return path.read_text(encoding="utf-8")


async def edit_file(app: App[Any], path: Path) -> None:
    """Return when the editor has ended well. Raises DsparkError, OSError."""
    command = [*editor_command(), str(path)]
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl+C goes to the whole foreground, and is the editor's
    try:
        # Nothing may be drawn over the editor, yet the loop must run: what the engine sends would time out unread.
        with app.suspend(), app.batch_update():
            ended = await asyncio.to_thread(_run, command)
    except SuspendNotSupported as error:
        raise DsparkError("This terminal cannot be lent to an editor.") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(ended, OSError):
        raise DsparkError(f"The editor {command[0]} cannot be started: {ended.strerror}.", hint="Set $EDITOR.")
    if ended:
        raise DsparkError(f"{command[0]} ended with code {ended}, so nothing was taken over.")


def _run(command: list[str]) -> int | OSError:
    """The exit code. An error is returned: raised within App.suspend() it would leave the terminal suspended."""
    try:
        # Descriptor 2 leads into the log while the chat runs; the editor gets the terminal.
        return subprocess.run(command, stderr=sys.__stderr__, check=False).returncode
    except OSError as error:
        return error
