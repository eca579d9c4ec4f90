"""The conversation database: opening it privately, its tables, and how older files become newer ones.

PRAGMA user_version counts the steps of _MIGRATIONS that a file has seen. The full-text index is apart from them,
because a Python may come without FTS5: then it is left alone, and rebuilt by the next one that can.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from dspark_local.errors import DsparkError

_BUSY_SECONDS = 5.0

_MIGRATIONS = (
    """
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        name TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        model TEXT NOT NULL DEFAULT '',
        settings TEXT NOT NULL DEFAULT '{}',
        leaf_id TEXT,
        deleted_at REAL
    );
    CREATE INDEX conversations_by_time ON conversations (updated_at);
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
        parent_id TEXT,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        reasoning TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL,
        created_at REAL NOT NULL,
        figures TEXT NOT NULL DEFAULT '{}'
    );
    CREATE INDEX messages_by_conversation ON messages (conversation_id, number);
    CREATE TABLE imports (source TEXT PRIMARY KEY, imported_at REAL NOT NULL);
    """,
)

# Three-letter pieces find parts of words, and words of scripts that write no spaces.
_INDEX = """
    CREATE VIRTUAL TABLE IF NOT EXISTS messages_index
        USING fts5(text, content='messages', content_rowid='number', tokenize='trigram');
    CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
        INSERT INTO messages_index (rowid, text) VALUES (new.number, new.text);
    END;
    CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
        INSERT INTO messages_index (messages_index, rowid, text) VALUES ('delete', old.number, old.text);
    END;
    CREATE TRIGGER message_changed AFTER UPDATE OF text ON messages WHEN old.text IS NOT new.text BEGIN
        INSERT INTO messages_index (messages_index, rowid, text) VALUES ('delete', old.number, old.text);
        INSERT INTO messages_index (rowid, text) VALUES (new.number, new.text);
    END;
    INSERT INTO messages_index (messages_index) VALUES ('rebuild');
"""
_TRIGGERS = ("message_added", "message_removed", "message_changed")


def open_database(path: Path) -> tuple[sqlite3.Connection, bool]:
    """The connection, and whether full-text search works. The file is made with mode 0600 where it is missing.

    Raises OSError, sqlite3.Error, DsparkError for a file of a newer version.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # its -wal and -shm get the same mode
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")
        _migrate(database, path)
        return database, _prepare_index(database)
    except BaseException:
        database.close()
        raise


def has_full_text(database: sqlite3.Connection) -> bool:
    """Whether this SQLite has FTS5 with the tokenizer that the index uses."""
    with contextlib.suppress(sqlite3.OperationalError):
        database.execute("CREATE VIRTUAL TABLE temp.full_text_probe USING fts5(x, tokenize='trigram')")
        database.execute("DROP TABLE temp.full_text_probe")
        return True
    return False


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    version = _version(database)
    if version > len(_MIGRATIONS):
        raise DsparkError(
            f"{path} was written by a newer version of this program (its format is {version}, "
            f"this one knows {len(_MIGRATIONS)}).",
            hint="Update dspark-local, or set DSPARK_HOME to another folder.",
        )
    if version == len(_MIGRATIONS):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_version(database), len(_MIGRATIONS)):  # another chat may have been first
            for statement in _MIGRATIONS[number].split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number + 1}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _prepare_index(database: sqlite3.Connection) -> bool:
    present = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    if not has_full_text(database):
        for name in present.intersection(_TRIGGERS):  # they would make every write fail
            database.execute(f"DROP TRIGGER IF EXISTS {name}")
        return False
    if not present.issuperset(_TRIGGERS):
        dropped = "".join(f"DROP TRIGGER IF EXISTS {name};" for name in _TRIGGERS)
        database.executescript(f"BEGIN IMMEDIATE; {dropped} {_INDEX} COMMIT;")
    return True
