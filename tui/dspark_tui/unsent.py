"""Words that were written and not sent yet - the draft and the queue of a conversation - on disk until they are.

They stand in a table of their own that the database's version does not count: an older program leaves it alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspark_tui.attachments import Attachment
from dspark_tui.store import ConversationStore

_TABLE = """
    CREATE TABLE IF NOT EXISTS unsent (
        conversation_id TEXT PRIMARY KEY, is_new INTEGER NOT NULL, words TEXT NOT NULL, pid INTEGER NOT NULL,
        written_at REAL NOT NULL)
"""
_INSERT = "INSERT INTO unsent (conversation_id, is_new, words, pid, written_at) VALUES (?, ?, ?, ?, ?)"
# What belonged to a conversation that was deleted for good goes with it.
_FORGET = "DELETE FROM unsent WHERE NOT is_new AND conversation_id NOT IN (SELECT id FROM conversations)"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Words to send, with their files."""

    text: str
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsent:
    """What stands in the box, and what waits in order to be sent."""

    draft: Prompt = Prompt("")
    queue: tuple[Prompt, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True when nothing would be lost."""
        return not (self.draft.text.strip() or self.draft.files or self.queue)


def keep_unsent(store: ConversationStore, conversation_id: str, unsent: Unsent, *, is_new: bool) -> None:
    """Write it, or remove it when empty. is_new: nothing was said in it yet. Raises OSError, sqlite3.Error."""
    with store.writing() as database:
        database.execute(_TABLE)
        database.execute("DELETE FROM unsent WHERE conversation_id = ?", (conversation_id,))
        database.execute(_FORGET)
        if not unsent.is_empty:
            words = {"draft": _as_json(unsent.draft), "queue": [_as_json(prompt) for prompt in unsent.queue]}
            database.execute(_INSERT, (conversation_id, is_new, json.dumps(words), os.getpid(), time.time()))


def take_unsent(store: ConversationStore, conversation_id: str | None) -> Unsent:
    """Read and remove what was kept; None takes the newest of a conversation that never began.

    What another running chat keeps is left to it. Raises OSError, sqlite3.Error.
    """
    with store.writing() as database:
        database.execute(_TABLE)
        where = "is_new" if conversation_id is None else "conversation_id = ?"
        given = () if conversation_id is None else (conversation_id,)
        query = f"SELECT conversation_id, words, pid FROM unsent WHERE {where} ORDER BY written_at DESC"
        for found, words, pid in database.execute(query, given).fetchall():
            if not _runs_elsewhere(pid):
                database.execute("DELETE FROM unsent WHERE conversation_id = ?", (found,))
                return _of_json(words)
    return Unsent()


def _runs_elsewhere(pid: int) -> bool:
    import psutil  # only a chat with something left to bring back needs it

    return pid != os.getpid() and psutil.pid_exists(pid)


def _as_json(prompt: Prompt) -> dict[str, Any]:
    return {"text": prompt.text, "files": [{"name": one.name, "text": one.text} for one in prompt.files]}


def _of_json(words: str) -> Unsent:
    data = json.loads(words)
    return Unsent(_prompt(data["draft"]), tuple(map(_prompt, data["queue"])))


def _prompt(data: Mapping[str, Any]) -> Prompt:
    return Prompt(data["text"], tuple(Attachment(one["name"], one["text"]) for one in data["files"]))
