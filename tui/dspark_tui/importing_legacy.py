"""The JSON files of earlier versions, one a conversation, taken into the database once each and left where they are."""

from __future__ import annotations

import json
import time
from pathlib import Path

from dspark_tui.store import ConversationStore
from dspark_tui.store_records import from_json


def import_legacy(store: ConversationStore, folder: Path) -> list[Path]:
    """Take in every file of `folder` not taken yet; returns those that cannot be read. Raises what saving does."""
    taken = {source for (source,) in store.database.execute("SELECT source FROM imports")}
    refused: list[Path] = []
    for path in sorted(folder.glob("*.json")):
        if path.name in taken:
            continue
        try:
            conversation = from_json(json.loads(path.read_text(encoding="utf-8")))
            if not store.contains(conversation.id):
                store.save(conversation)
        except (OSError, ValueError, RecursionError):
            refused.append(path)
            continue
        with store.writing() as database:
            database.execute("INSERT OR IGNORE INTO imports VALUES (?, ?)", (path.name, time.time()))
    return refused
