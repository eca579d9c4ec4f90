"""How models would be downloaded: from where, into which folder, and whether a token is set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from dspark_local.hardware.disk import nearest_existing


@dataclass(frozen=True, slots=True)
class Hub:
    """endpoint carries no user, password or query; has_token says that there is one, never which.

    cache_error    why the cache folder cannot be used; empty when it can, or can be created
    """

    endpoint: str
    cache_folder: str
    is_offline: bool
    has_token: bool
    cache_error: str


def read_hub(cache: Path) -> Hub:
    """Ask huggingface_hub's own settings; no request is made."""
    from huggingface_hub import constants, get_token

    return Hub(
        endpoint=without_credentials(constants.ENDPOINT),
        cache_folder=str(cache),
        is_offline=constants.is_offline_mode(),
        has_token=get_token() is not None,
        cache_error=_cache_error(cache),
    )


def without_credentials(address: str) -> str:
    """The address with nothing in it that could be a secret."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _cache_error(cache: Path) -> str:
    if cache.exists() and not cache.is_dir():
        return "it is no folder"
    place = nearest_existing(cache)
    if not os.access(place, os.R_OK | os.X_OK):
        return f"{place} cannot be read"
    return "" if os.access(place, os.W_OK) else f"{place} cannot be written"
