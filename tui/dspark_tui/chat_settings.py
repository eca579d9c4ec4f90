"""How the chat asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How to ask. temperature None takes the model's recommendation. resume opens the latest conversation."""

    thinking: bool = False
    temperature: float | None = None
    resume: bool = False
