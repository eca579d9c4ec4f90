"""Conversations on disk: one JSON file each, replaced atomically, so that a crash loses at most half a second.

What the disk refuses is held, tried again, and in the end copied to the temporary folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from dspark_local.paths import conversations_dir, write_atomically
from dspark_tui.conversation import Conversation


class ConversationStore:
    """Files in `folder`, by default the state folder's."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else conversations_dir()
        self.problem = ""
        """Why something said is not on disk, in the system's words; empty while all of it is."""
        self._unsaved: dict[str, Conversation] = {}

    def path(self, conversation: Conversation) -> Path:
        """Where the conversation is kept."""
        return self.folder / f"{conversation.id}.json"

    def save(self, conversation: Conversation) -> None:
        """Write it; a conversation without turns leaves no file. Raises OSError."""
        if conversation.turns:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have cleaned up
            write_atomically(self.path(conversation), _text(conversation))
        elif self.path(conversation).exists():
            self.path(conversation).unlink()

    def keep(self, conversation: Conversation) -> None:
        """save(), but what the disk refuses is held here and noted in `problem`."""
        try:
            self.save(conversation)
        except OSError as error:
            self._unsaved[conversation.id] = conversation
            self.problem = error.strerror or str(error)
        else:
            self._unsaved.pop(conversation.id, None)
            self.problem = self.problem if self._unsaved else ""

    def retry(self) -> None:
        """Try again to save what was refused."""
        for conversation in list(self._unsaved.values()):
            self.keep(conversation)

    def rescue(self) -> list[Path]:
        """The last try: copies in the temporary folder of all that is still refused. Raises OSError."""
        self.retry()
        copies: list[Path] = []
        for conversation in self._unsaved.values():
            descriptor, name = tempfile.mkstemp(prefix="dspark-conversation-", suffix=".json")
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(_text(conversation))
            copies.append(Path(name))
        self._unsaved.clear()
        return copies

    def load(self, path: Path) -> Conversation:
        """Read one file. Raises OSError, ValueError."""
        return Conversation.from_json(json.loads(path.read_text(encoding="utf-8")))


def _text(conversation: Conversation) -> str:
    return json.dumps(conversation.to_json(), ensure_ascii=False, indent=1)
