"""Removing what a report for strangers must not hold: home folder, user, host and secrets."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SECRET_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "DSPARK_API_KEY")
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{8,}")
_COMMON_HOSTS = {"", "localhost"}


def private_scrubber() -> Callable[[Any], Any]:
    """A function that returns a JSON value with the same keys and every private part of its strings replaced."""
    rules = [(_TOKEN, "***")]
    rules += [(re.compile(re.escape(secret)), "***") for secret in _secrets()]
    for home in _homes():
        rules.append((re.compile(rf"{re.escape(home)}(?![\w.-])"), "~"))
    with contextlib.suppress(OSError, KeyError, ImportError):  # no name for this user id
        user = re.escape(getpass.getuser())
        rules.append((re.compile(rf"(?<=[/\\]){user}(?![\w.-])"), "USER"))
    name = socket.gethostname()
    for host in (name, name.partition(".")[0]):
        if host not in _COMMON_HOSTS:
            rules.append((re.compile(rf"(?<![\w-]){re.escape(host)}(?![\w-])"), "HOST"))

    def scrub(value: Any) -> Any:
        if isinstance(value, str):
            for pattern, replacement in rules:
                value = pattern.sub(replacement, value)
            return value
        if isinstance(value, dict):
            return {key: scrub(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [scrub(each) for each in value]
        return value

    return scrub


def _homes() -> list[str]:
    """Spellings of the home folder, the longest first; a home that is the root is nobody's."""
    spellings = {str(Path.home()), os.path.realpath(Path.home())}
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        spellings.add(pwd.getpwuid(os.getuid()).pw_dir)
    spellings |= {home.replace("\\", "/") for home in spellings}
    return sorted((home.rstrip("/\\") for home in spellings if len(home) > 1), key=len, reverse=True)


def _secrets() -> list[str]:
    """Values that are secret by the place they stand in."""
    found = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    with contextlib.suppress(ImportError, OSError):
        from huggingface_hub import get_token

        found.append(get_token() or "")
    return [secret for secret in found if len(secret) >= 4]
