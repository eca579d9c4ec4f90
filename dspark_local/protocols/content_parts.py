"""Message content that arrives as a list of parts (OpenAI form) becomes the one string that V4 reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flatten_content(parts: str | Sequence[Mapping[str, Any]] | None) -> str:
    """Text parts joined by an empty line; a part of another type is named in its place, as the release does."""
    if parts is None or isinstance(parts, str):
        return parts or ""
    texts = [str(p.get("text", "")) if p.get("type") == "text" else f"[Unsupported {p.get('type')}]" for p in parts]
    return "\n\n".join(texts)
