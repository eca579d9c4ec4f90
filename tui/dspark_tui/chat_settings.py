"""How the chat asks and looks: what the command line said, and what chat.toml holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from dspark_tui.settings_file import ChatFile


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How to ask. temperature None takes the model's recommendation. resume opens the latest conversation."""

    thinking: bool = False
    temperature: float | None = None
    resume: bool = False
    file: ChatFile = field(default_factory=ChatFile)
