"""Earlier prompts, of this and of all kept conversations. They are read from the database: nothing is stored twice.

What is deleted there is gone from here too.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from dspark_tui.store import ConversationStore

_MOST = 500
_LONGEST = 20_000

_SELECT = """
    SELECT messages.text FROM messages JOIN conversations ON conversations.id = messages.conversation_id
    WHERE messages.role = 'user' AND conversations.deleted_at IS NULL AND length(messages.text) <= ?
    ORDER BY messages.created_at DESC, messages.number DESC LIMIT ?
"""


def earlier_prompts(store: ConversationStore) -> list[str]:
    """The newest prompts, the oldest of them first, each once. Empty when the database does not answer."""
    with suppress(sqlite3.Error):
        rows = store.database.execute(_SELECT, (_LONGEST, _MOST)).fetchall()
        return list(dict.fromkeys(str(text) for (text,) in rows))[::-1]
    return []


class PromptHistory:
    """Steps through earlier prompts, from an empty box and back to it."""

    def __init__(self) -> None:
        self._prompts: list[str] = []
        self._at = 0

    def extend(self, earlier: list[str]) -> None:
        """Put these, the oldest first, before what was added here."""
        self._prompts = list(dict.fromkeys([*self._prompts[::-1], *earlier[::-1]]))[::-1]
        self._at = len(self._prompts)

    def add(self, prompt: str) -> None:
        """The newest; it stands nowhere else any more."""
        self._prompts = [other for other in self._prompts if other != prompt]
        self._prompts.append(prompt)
        self._at = len(self._prompts)

    def step(self, step: int, text: str) -> str | None:
        """The prompt before (-1) or after (1), while `text` stands in the box; None when there is none.

        Somebody's own words in the box are never replaced.
        """
        is_browsing = self._at < len(self._prompts) and self._prompts[self._at] == text
        if not text:
            self._at = len(self._prompts)
        elif not is_browsing:
            return None
        at = self._at + step
        if not 0 <= at <= len(self._prompts):
            return None
        self._at = at
        return self._prompts[at] if at < len(self._prompts) else ""
