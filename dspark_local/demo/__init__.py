"""The demo pair: a small trained DeepSeek-V4 with its DSpark draft, and how it was made.

Importing this package loads nothing heavy.
"""

from __future__ import annotations

from pathlib import Path


def weights_path() -> Path:
    """Directory of the shipped demo checkpoint, in the official format."""
    return Path(__file__).resolve().parent / "weights"
