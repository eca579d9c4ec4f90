"""Reading conversations from files: ours, OpenAI-style message lists, ChatGPT's and ShareGPT's exports.

Only text is taken. What a conversation cannot hold (tool messages, images) is left out and counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspark_local.errors import UsageError
from dspark_tui.conversation import Conversation, Turn, new_id
from dspark_tui.store_records import from_json

MAX_BYTES = 256 << 20
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held: conversations with ids of their own, and how many messages or parts were left out."""

    conversations: tuple[Conversation, ...]
    left_out: int = 0


def read_conversations(path: Path) -> Imported:
    """Every conversation in a JSON or JSON-lines file. Raises UsageError when there is none in it."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(f"{path} has {size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB are read.")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", hint="Check the path.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} holds no conversation: it is no text file.", hint=_HINT) from error
    try:
        data = _parsed(text)
        reader = _Reader(path.stem)
        conversations = tuple(one for one in reader.read(data) if one.tree)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} holds no conversation: it is no JSON (line {error.lineno}, column {error.colno}).", hint=_HINT
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} holds no conversation: {error}.", hint=_HINT) from error
    if not conversations:
        raise UsageError(f"{path} holds no conversation.", hint=_HINT)
    return Imported(conversations, reader.left_out)


_HINT = "Known are this program's JSON, lists of messages with role and content, ChatGPT's and ShareGPT's exports."


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise error from None  # its line is the file's


class _Reader:
    """Knows the shapes; left_out counts what it could not take."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.left_out = 0

    def read(self, data: Any) -> Iterator[Conversation]:
        """Conversations in `data`, whatever its shape. Raises ValueError."""
        match data:
            case {"format": int(), "id": _}:
                yield _with_new_ids(from_json(data))
            case [{"role": _}, *_] | [{"from": _}, *_]:
                yield self._of_list(data, self._name)
            case {"messages": list(messages)} | {"conversations": list(messages)} | {"conversation": list(messages)}:
                if _is_message(messages):
                    yield self._of_list(messages, self._title(data), _text(data.get("model")))
                else:
                    yield from self.read(messages)
            case {"mapping": dict(mapping)}:
                path = _visible_path(mapping, data.get("current_node"))
                yield self._of_list(path, self._title(data), "", data.get("create_time"))
            case list():
                for item in data:
                    yield from self.read(item)
            case _:
                raise ValueError("its shape is not known")

    def _title(self, data: dict[str, Any]) -> str:
        return _text(data.get("title")) or _text(data.get("name"))

    def _of_list(self, messages: list[Any], name: str, model: str = "", created_at: Any = None) -> Conversation:
        conversation = Conversation(model=model, name=" ".join(name.split())[:200])
        if isinstance(created_at, (int, float)):
            conversation.created_at = float(created_at)
        now = time.time()
        prompt = ""
        turn: Turn | None = None
        system: list[str] = []
        for message in messages:
            role, text, reasoning = self._said(message)
            if role in ("system", "developer"):
                system.append(text)
            elif role == "user" and (text or not prompt):
                prompt, turn = _joined(prompt, text) if turn is None else text, None
            elif role == "assistant" and (text or reasoning):
                if turn is None:
                    turn = conversation.begin(prompt)
                    turn.state, turn.started_at, prompt = "complete", _time(message, now), ""
                turn.answer, turn.reasoning = _joined(turn.answer, text), _joined(turn.reasoning, reasoning)
        if prompt:
            conversation.begin(prompt).state = "stopped"
        if any(system):
            conversation.settings["system_prompt"] = "\n\n".join(filter(None, system))
        return conversation

    def _said(self, message: Any) -> tuple[str, str, str]:
        """(role, text, reasoning) of one message."""
        if not isinstance(message, dict):
            raise ValueError("a message is no object")
        author = message.get("author")
        role = message.get("role") or message.get("from") or (author.get("role") if isinstance(author, dict) else None)
        role = _ROLES.get(str(role).lower(), str(role).lower())
        if role not in ("system", "developer", "user", "assistant"):
            self.left_out += 1
            return role, "", ""
        text = self._content(message.get("content", message.get("value")))
        self.left_out += len(message.get("tool_calls") or ())
        reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        return role, text, reasoning

    def _content(self, content: Any) -> str:
        if content is None or isinstance(content, str):
            return content or ""
        if isinstance(content, dict):  # ChatGPT's: {"content_type": "text", "parts": [...]}
            content = content.get("parts") or [content]
        if not isinstance(content, list):
            raise ValueError("a message's content is neither text nor a list of parts")
        texts: list[str] = []
        for part in content:
            text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                texts.append(text)
            else:
                self.left_out += 1
        return "\n\n".join(filter(None, texts))


def _is_message(items: list[Any]) -> bool:
    return bool(items) and isinstance(items[0], dict) and ("role" in items[0] or "from" in items[0])


def _visible_path(mapping: dict[str, Any], current: Any) -> list[Any]:
    """ChatGPT keeps a tree of nodes and names the end of the visible path."""
    nodes = {key: node for key, node in mapping.items() if isinstance(node, dict)}
    if current not in nodes:
        current = next((key for key in reversed(nodes) if not nodes[key].get("children")), None)
    path: list[Any] = []
    seen: set[str] = set()
    while isinstance(current, str) and current in nodes and current not in seen:
        seen.add(current)
        message = nodes[current].get("message")
        hidden = isinstance(message, dict) and (message.get("metadata") or {}).get(
            "is_visually_hidden_from_conversation"
        )
        if message is not None and not hidden:
            path.append(message)
        current = nodes[current].get("parent")
    return path[::-1]


def _with_new_ids(conversation: Conversation) -> Conversation:
    """So that a second import stands beside the first, and never overwrites what is here."""
    renamed: dict[str, str] = {}
    for turn in conversation.tree:
        turn.id = renamed.setdefault(turn.id, new_id())
        turn.prompt_id = renamed.setdefault(turn.prompt_id, new_id())
        turn.parent_id = renamed[turn.parent_id] if turn.parent_id is not None else None
    conversation.id = new_id()
    return conversation


def _joined(before: str, text: str) -> str:
    return "\n\n".join(filter(None, (before, text)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(message: dict[str, Any], default: float) -> float:
    value = message.get("create_time") or message.get("created_at")
    return float(value) if isinstance(value, (int, float)) else default
