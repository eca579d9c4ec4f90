"""What clients are told about a failure names files, never where on this computer they lie."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from dspark_local.errors import DsparkError

# A quoted path may hold spaces. One part alone, as in GET /health, is no path of a disk that tells anything.
_QUOTED = re.compile(r"""(["'])(?:/|[A-Za-z]:[\\/]|\\\\|~[\\/])[^"'\n]*[\\/]([^"'\\/\n]*)\1""")
_BARE = re.compile(
    r"""(?<![\w:/.\\~-])(?:~[\\/]|(?:/|[A-Za-z]:[\\/]|\\\\)[^\s"'\\/]+[\\/])(?:[^\s"'\\/]+[\\/])*([^\s"'\\/]*)"""
)


def without_folders(text: str) -> str:
    """The text with every absolute path cut down to its last part. Addresses of the web are left alone."""
    text = text.replace(f"{Path.home()}/", "~/")  # a person's name may hold a space, which ends an unquoted path
    return _BARE.sub(r"\1", _QUOTED.sub(r"\1\2\1", text))


def for_clients(error: DsparkError) -> DsparkError:
    """The error as a client may read it: itself when it names no folder, else a copy of the same kind."""
    message, hint = without_folders(error.message), without_folders(error.hint)
    if (message, hint) == (error.message, error.hint):
        return error
    told = copy.copy(error)
    told.message, told.hint = message, hint
    told.__cause__ = error
    return told
