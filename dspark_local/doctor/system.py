"""The program, its Python, the system below and the terminal around it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass

from dspark_local import __version__
from dspark_local.hardware.wsl import is_wsl
from dspark_local.paths import state_dir


@dataclass(frozen=True, slots=True)
class System:
    """columns and rows are those of the terminal, None where output goes elsewhere.

    state_error says why the state folder cannot be written; empty when it can.
    """

    version: str
    python: str
    system: str
    machine: str
    is_wsl: bool
    terminal: str
    columns: int | None
    rows: int | None
    state_folder: str
    state_error: str


def read_system() -> System:
    """Ask Python and the environment; nothing here fails."""
    size = shutil.get_terminal_size() if sys.stdout is not None and sys.stdout.isatty() else None
    folder, error = _state_folder()
    return System(
        version=__version__,
        python=platform.python_version(),
        system=_system_name(),
        machine=platform.machine(),
        is_wsl=is_wsl(),
        terminal=os.environ.get("TERM", ""),
        columns=size.columns if size else None,
        rows=size.lines if size else None,
        state_folder=folder,
        state_error=error,
    )


def _system_name() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (OSError, KeyError, AttributeError):
        return kernel


def _state_folder() -> tuple[str, str]:
    try:
        folder = state_dir()
    except OSError as error:
        return str(error.filename or ""), error.strerror or str(error)
    return str(folder), "" if os.access(folder, os.W_OK | os.X_OK) else "it is read-only"
