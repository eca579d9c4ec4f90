"""Conversations on disk, in SQLite, written as they grow: a crash loses at most what arrived since the last save.

What the disk refuses is held, tried again, and in the end copied to the temporary folder.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dspark_local.errors import DsparkError
from dspark_local.paths import state_dir
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.store_records import MessageRecord, assemble, facts_of, records_of, to_json, turns_of
from dspark_tui.store_schema import open_database

FILE_NAME = "conversations.db"
_REFUSALS = (OSError, sqlite3.Error, DsparkError)

_UPSERT_CONVERSATION = """
    INSERT INTO conversations (id, title, name, created_at, updated_at, model, settings, leaf_id)
    VALUES (:id, :title, :name, :created_at, :updated_at, :model, :settings, :leaf_id)
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, name = excluded.name, updated_at = excluded.updated_at,
        model = excluded.model, settings = excluded.settings, leaf_id = excluded.leaf_id
"""
_UPSERT_MESSAGE = """
    INSERT INTO messages (id, conversation_id, parent_id, role, text, reasoning, state, created_at, figures)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET text = excluded.text, reasoning = excluded.reasoning, state = excluded.state,
        figures = excluded.figures
"""
_SELECT_MESSAGES = """
    SELECT id, parent_id, role, text, reasoning, state, created_at, figures FROM messages
    WHERE conversation_id = ? ORDER BY number
"""


class ConversationStore:
    """The database at `path`, by default in the state folder. Raises OSError, sqlite3.Error, DsparkError at opening."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else state_dir() / FILE_NAME
        self.problem = ""
        """Why something said is not on disk, in the system's words; empty while all of it is."""
        self.unreadable: list[Path] = []
        """Files of an earlier version that could not be taken in."""
        self._unsaved: dict[str, Conversation] = {}
        self._written: dict[str, dict[str, tuple[object, ...]]] = {}
        self._open()

    def _open(self) -> None:
        self.database, self.has_full_text = open_database(self.path)
        self._inode = os.stat(self.path).st_ino
        self._written.clear()

    def close(self) -> None:
        """Remove for good what was deleted, and close the file."""
        with suppress(sqlite3.Error):
            self.database.execute("DELETE FROM conversations WHERE deleted_at IS NOT NULL")
        self.database.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, undone when the block fails. Opens the file again if somebody removed it meanwhile."""
        try:
            is_there = os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self.database.close()
            self._open()
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield self.database
            self.database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have ended the transaction already
                self.database.execute("ROLLBACK")
            raise

    # ---- saving

    def save(self, conversation: Conversation) -> None:
        """Write what has changed; a conversation without turns leaves no trace. Raises OSError, sqlite3.Error.

        While an answer streams, losing power may cost the last moments; a killed program never does.
        """
        answering = any(turn.state == "answering" for turn in conversation.turns[-1:])
        self.database.execute(f"PRAGMA synchronous = {'NORMAL' if answering else 'FULL'}")
        with self.writing() as database:
            written = self._written.get(conversation.id, {})
            now = {turn.id: _fingerprint(turn) for turn in conversation.tree}
            gone = [turn_id for turn_id in written if turn_id not in now]
            if not conversation.tree:
                database.execute("DELETE FROM conversations WHERE id = ?", (conversation.id,))
            else:
                facts = {**facts_of(conversation), "settings": json.dumps(conversation.settings)}
                database.execute(_UPSERT_CONVERSATION, facts)
                changed = [turn for turn in conversation.tree if now[turn.id] != written.get(turn.id)]
                records = (record for turn in changed for record in records_of(turn))
                database.executemany(_UPSERT_MESSAGE, (_row(record, conversation.id) for record in records))
                database.executemany("DELETE FROM messages WHERE id = ?", [(turn_id,) for turn_id in gone])
            if gone:  # prompts that no answer follows any more
                database.execute(
                    "DELETE FROM messages WHERE conversation_id = ? AND role = 'user' AND id NOT IN"
                    " (SELECT parent_id FROM messages WHERE conversation_id = ? AND role = 'assistant')",
                    (conversation.id, conversation.id),
                )
        self._written[conversation.id] = now

    def keep(self, conversation: Conversation) -> None:
        """save(), but what the disk refuses is held here and noted in `problem`."""
        try:
            self.save(conversation)
        except _REFUSALS as error:
            self._unsaved[conversation.id] = conversation
            self.problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
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
                stream.write(to_json(conversation))
            copies.append(Path(name))
        self._unsaved.clear()
        return copies

    # ---- one conversation

    def load(self, conversation_id: str) -> Conversation:
        """Every version of everything said in it. Raises KeyError, ValueError, sqlite3.Error."""
        row = self.database.execute(
            "SELECT name, created_at, model, settings, leaf_id FROM conversations WHERE id = ?", (conversation_id,)
        ).fetchone()
        if row is None:
            raise KeyError(conversation_id)
        name, created_at, model, settings, leaf_id = row
        facts = {"id": conversation_id, "name": name, "created_at": created_at, "model": model, "leaf_id": leaf_id}
        rows = self.database.execute(_SELECT_MESSAGES, (conversation_id,))
        with _without_collections():
            turns = turns_of(_record(row) for row in rows)
        conversation = assemble({**facts, "settings": json.loads(settings)}, turns)
        self._written[conversation_id] = {turn.id: _fingerprint(turn) for turn in turns}
        return conversation

    def contains(self, conversation_id: str) -> bool:
        """Whether there is one of this id, deleted or not."""
        found = self.database.execute("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,))
        return found.fetchone() is not None

    def name_of(self, conversation_id: str) -> str | None:
        """The title a person gave, empty without one; None when the conversation is deleted. Raises sqlite3.Error."""
        query = "SELECT name FROM conversations WHERE id = ? AND deleted_at IS NULL"
        row = self.database.execute(query, (conversation_id,)).fetchone()
        return None if row is None else str(row[0])

    def rename(self, conversation_id: str, name: str) -> None:
        """Give it a title; an empty one brings the first words back. Raises OSError, sqlite3.Error, KeyError."""
        conversation = self.load(conversation_id)
        conversation.name = " ".join(name.split())
        with self.writing() as database:
            database.execute(
                "UPDATE conversations SET name = ?, title = ? WHERE id = ?",
                (conversation.name, conversation.title, conversation_id),
            )

    def delete(self, conversation_id: str) -> None:
        """Out of sight now, gone for good when the program ends. Raises OSError, sqlite3.Error."""
        self._mark(conversation_id, time.time())

    def restore(self, conversation_id: str) -> None:
        """Undo delete(). Raises OSError, sqlite3.Error."""
        self._mark(conversation_id, None)

    def _mark(self, conversation_id: str, deleted_at: float | None) -> None:
        with self.writing() as database:
            database.execute("UPDATE conversations SET deleted_at = ? WHERE id = ?", (deleted_at, conversation_id))


@contextmanager
def _without_collections() -> Iterator[None]:
    """All that is made within lives on: looking for garbage meanwhile takes half of the time of a long load."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _fingerprint(turn: Turn) -> tuple[object, ...]:
    return (turn.state, turn.answer, turn.reasoning, turn.completion_tokens, turn.thinking_seconds)


def _row(record: MessageRecord, conversation_id: str) -> tuple[object, ...]:
    return (
        record.id,
        conversation_id,
        record.parent_id,
        record.role,
        record.text,
        record.reasoning,
        record.state,
        record.created_at,
        json.dumps(record.figures),
    )


def _record(row: tuple[Any, ...]) -> MessageRecord:
    message_id, parent_id, role, text, reasoning, state, created_at, figures = row
    return MessageRecord(message_id, parent_id, role, text, reasoning, state, created_at, _figures(figures))


def _figures(text: str) -> dict[str, float]:
    return {} if text == "{}" else dict(json.loads(text))
