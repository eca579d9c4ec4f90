"""Conversations on disk: one JSON file each, replaced atomically, so that a crash loses at most half a second."""

from __future__ import annotations

import json
from pathlib import Path

from dspark_local.paths import conversations_dir, write_atomically
from dspark_tui.conversation import Conversation


class ConversationStore:
    """Files in `folder`, by default the state folder's."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder if folder is not None else conversations_dir()

    def path(self, conversation: Conversation) -> Path:
        """Where the conversation is kept."""
        return self._folder / f"{conversation.id}.json"

    def save(self, conversation: Conversation) -> None:
        """Write it; a conversation without turns leaves no file. Raises OSError."""
        if conversation.turns:
            text = json.dumps(conversation.to_json(), ensure_ascii=False, indent=1)
            write_atomically(self.path(conversation), text)
        else:
            self.path(conversation).unlink(missing_ok=True)

    def load(self, path: Path) -> Conversation:
        """Read one file. Raises OSError, ValueError."""
        return Conversation.from_json(json.loads(path.read_text(encoding="utf-8")))
