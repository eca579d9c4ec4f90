"""Where the hub's own client keeps what it downloads."""

from __future__ import annotations

from pathlib import Path


def hub_cache_dir() -> Path:
    """The cache of huggingface_hub as HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME place it; it need not exist."""
    from huggingface_hub import constants  # 0.1 s that --help should not pay

    return Path(constants.HF_HUB_CACHE)
