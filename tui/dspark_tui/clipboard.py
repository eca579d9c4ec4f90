"""Where copied text goes: to the terminal, which may be on another computer, and to this computer's own clipboard.

A terminal does not answer, so what is said afterwards claims no more than that the text was sent.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping

from textual.app import App

TERMINAL_BYTES = 74_994
"""xterm, tmux and most others take 100,000 base64 characters; more is dropped without a word."""
_SCREEN_CHUNK = 240
_SECONDS = 3.0


async def copy(app: App[None], text: str) -> str:
    """Send `text` on all ways there are; returns what was done, in words, or why nothing was."""
    size = len(text.encode())
    fits = size <= TERMINAL_BYTES
    if fits:
        app.copy_to_clipboard(text)
        if (driver := app._driver) is not None and os.environ.get("STY"):  # App writes no other sequence than OSC 52
            driver.write(screen_sequence(text))
    is_here = await asyncio.to_thread(_copy_here, text)
    if is_here:
        return f"Copied {_amount(text)} to this computer's clipboard."
    if fits:
        return f"Sent {_amount(text)} to the terminal's clipboard."
    return f"{size / 1000:,.0f} kB are more than terminals take: /copy file writes the answer to a file."


def _amount(text: str) -> str:
    lines = text.count("\n") + 1
    return f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"


def _copy_here(text: str) -> bool:
    """To tmux's own buffer, which passes it on, and to the clipboard of the screen that this computer has."""
    if os.environ.get("TMUX"):
        # By its own command: tmux ignores the sequence of a program inside it unless it is set up otherwise.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["tmux", "load-buffer", "-w", "-"],
                input=text.encode(),
                timeout=_SECONDS,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    if not has_own_clipboard(os.environ, sys.platform):
        return False
    import pyperclip

    try:
        pyperclip.copy(text)
    except (pyperclip.PyperclipException, OSError):
        return False
    return True


def has_own_clipboard(environment: Mapping[str, str], platform: str) -> bool:
    """Whether the person sits at this computer, and it has a screen."""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return False
    return platform in ("darwin", "win32") or bool(environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY"))


def screen_sequence(text: str) -> str:
    """OSC 52 as GNU screen hands it on: in pieces, each wrapped for the terminal outside."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    pieces = (sequence[at : at + _SCREEN_CHUNK] for at in range(0, len(sequence), _SCREEN_CHUNK))
    return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
