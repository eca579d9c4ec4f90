"""The list of conversations, newest first, and the search in all that was said."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from dspark_tui.store import ConversationStore

LIST_LIMIT = 500
_INDEXED_CHARS = 3
_BEFORE, _AFTER = 24, 120


@dataclass(frozen=True, slots=True)
class Summary:
    """One conversation in the list; snippet is a piece of a message around what was searched for, else empty."""

    id: str
    title: str
    updated_at: float
    model: str
    messages: int
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """At most LIST_LIMIT summaries of `total` conversations that match."""

    summaries: tuple[Summary, ...]
    total: int


def search(store: ConversationStore, query: str = "") -> Found:
    """Conversations whose title, or one message of which, contains every word of the query. Raises sqlite3.Error."""
    words = query.split()
    if not words:
        return _found(store, "deleted_at IS NULL", (), {})
    matches = dict(_messages_with(store, words))
    titled = " AND ".join(["title LIKE ? ESCAPE '\\'"] * len(words))
    # The ids travel as one JSON array: a word may match more conversations than a statement takes parameters.
    condition = f"deleted_at IS NULL AND (id IN (SELECT value FROM json_each(?)) OR ({titled}))"
    return _found(store, condition, (_json_array(matches), *map(_pattern, words)), matches, words)


def latest(store: ConversationStore) -> str | None:
    """The id of the conversation spoken in last, if there is one. Raises sqlite3.Error."""
    summaries = _found(store, "deleted_at IS NULL", (), {}, limit=1).summaries
    return summaries[0].id if summaries else None


def count(store: ConversationStore) -> int:
    """How many conversations there are. Raises sqlite3.Error."""
    row = store.database.execute("SELECT count(*) FROM conversations WHERE deleted_at IS NULL").fetchone()
    return int(row[0])


def _found(
    store: ConversationStore,
    condition: str,
    parameters: tuple[str, ...],
    matches: dict[str, str],
    words: list[str] | None = None,
    limit: int = LIST_LIMIT,
) -> Found:
    total = store.database.execute(f"SELECT count(*) FROM conversations WHERE {condition}", parameters).fetchone()[0]
    rows = store.database.execute(
        "SELECT id, title, updated_at, model,"
        " (SELECT count(*) FROM messages WHERE conversation_id = conversations.id AND text != '')"
        f" FROM conversations WHERE {condition} ORDER BY updated_at DESC LIMIT ?",
        (*parameters, limit),
    )
    summaries = (
        Summary(id, title, updated_at, model, messages, snippet(matches.get(id, ""), words or []))
        for id, title, updated_at, model, messages in rows
    )
    return Found(tuple(summaries), total)


def _messages_with(store: ConversationStore, words: list[str]) -> sqlite3.Cursor:
    """(conversation id, text of its newest message that has every word)."""
    indexed = [word for word in words if store.has_full_text and len(word) >= _INDEXED_CHARS]
    conditions, parameters = [], []
    if indexed:
        conditions.append("number IN (SELECT rowid FROM messages_index WHERE messages_index MATCH ?)")
        parameters.append(" ".join('"' + word.replace('"', '""') + '"' for word in indexed))
    for word in words:
        if word not in indexed:
            conditions.append("text LIKE ? ESCAPE '\\'")
            parameters.append(_pattern(word))
    return store.database.execute(
        "SELECT conversation_id, text FROM messages WHERE number IN"
        f" (SELECT max(number) FROM messages WHERE {' AND '.join(conditions)} GROUP BY conversation_id)",
        parameters,
    )


def _pattern(word: str) -> str:
    for special in ("\\", "%", "_"):
        word = word.replace(special, "\\" + special)
    return f"%{word}%"


def _json_array(ids: dict[str, str]) -> str:
    return json.dumps(list(ids))


def snippet(text: str, words: list[str]) -> str:
    """One line of `text` around the first of the words that it has."""
    line = " ".join(text.split())
    folded = line.casefold()
    places = [place for word in words if (place := folded.find(word.casefold())) >= 0]
    start = max(min(places, default=0) - _BEFORE, 0)
    return ("…" if start else "") + line[start : start + _BEFORE + _AFTER]
