"""A conversation as a file for people (Markdown, the visible path) or for programs (JSON, every version)."""

from __future__ import annotations

import re
import time
from pathlib import Path

from dspark_local.errors import UsageError
from dspark_tui.conversation import Conversation
from dspark_tui.store_records import to_json

_ENDINGS = {"stopped": "stopped", "interrupted": "interrupted", "length": "cut at the limit of tokens"}


def export_path(folder: Path, conversation: Conversation, suffix: str = ".md") -> Path:
    """A path in `folder`, named after the title, where no file is yet."""
    words = re.sub(r"[^\w]+", "-", conversation.title.casefold()).strip("-_")[:48] or "conversation"
    path, number = folder / f"{words}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{words}-{number}{suffix}"
    return path


def export(conversation: Conversation, path: Path) -> Path:
    """Write a new file, .md as Markdown and .json as JSON, readable by its owner only; returns its full path.

    Raises UsageError when the ending is another, the file exists or cannot be written.
    """
    path = path.expanduser().absolute()
    if path.suffix.lower() not in (".md", ".json"):
        raise UsageError(f"{path.name} ends neither in .md nor in .json.", hint="The ending chooses the format.")
    text = to_markdown(conversation) if path.suffix.lower() == ".md" else to_json(conversation) + "\n"
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already.", hint="Give another name.") from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        path.unlink(missing_ok=True)  # half a file would look like a whole one
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> UsageError:
    reason = "there is no such folder" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
    return UsageError(f"{path} cannot be written: {reason}.", hint="Give another path.")


def to_markdown(conversation: Conversation) -> str:
    """The visible path; reasoning stands quoted above its answer."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.created_at))
    parts = [f"# {conversation.title or 'Conversation'}", " · ".join(filter(None, (day, conversation.model)))]
    if system := conversation.settings.get("system_prompt"):
        parts += ["## System", str(system)]
    for turn in conversation.turns:
        parts += ["## You", turn.sent]
        if turn.is_empty and turn.state not in _ENDINGS:
            continue
        parts.append("## Model")
        if turn.reasoning:
            parts.append("\n".join(f"> {line}".rstrip() for line in turn.reasoning.splitlines()))
        parts.append(turn.answer)
        if turn.state in _ENDINGS:
            parts.append(f"*({_ENDINGS[turn.state]})*")
    return "\n\n".join(part for part in parts if part) + "\n"
