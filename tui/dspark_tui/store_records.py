"""A conversation as a flat list of messages, each with its parent: the form of the database and of our JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from dspark_tui.attachments import Attachment
from dspark_tui.conversation import Conversation, Turn, TurnState

FORMAT = 2
_STATES = get_args(TurnState)
_FIGURES = (
    "thinking_seconds",
    "completion_tokens",
    "tokens_per_second",
    "accepted_length",
    "first_token_seconds",
    "interruption",
    "model",
)


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message. parent_id is the message it answers or follows, None for the first. created_at is Unix time.

    figures holds what else is known: of an answer thinking_seconds, completion_tokens, tokens_per_second,
    accepted_length, first_token_seconds, interruption and model, of a prompt its attachments, each with name and text.
    """

    id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    text: str
    reasoning: str = ""
    state: str = "complete"
    created_at: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


def records_of(turn: Turn) -> tuple[MessageRecord, MessageRecord]:
    """The prompt and the answer of a turn."""
    figures = {name: value for name in _FIGURES if (value := getattr(turn, name))}
    prompt = MessageRecord(turn.prompt_id, turn.parent_id, "user", turn.prompt, created_at=turn.started_at)
    if turn.attachments:
        prompt.figures["attachments"] = [{"name": one.name, "text": one.text} for one in turn.attachments]
    answer = MessageRecord(
        turn.id, turn.prompt_id, "assistant", turn.answer, turn.reasoning, turn.state, turn.started_at, figures
    )
    return prompt, answer


def turns_of(records: Iterable[MessageRecord]) -> list[Turn]:
    """Turns, in the order of their answers. An answer that a crash cut off counts as interrupted.

    Raises ValueError when an answer has no prompt, or what it follows is not there before it.
    """
    prompts: dict[str, MessageRecord] = {}
    turns: dict[str, Turn] = {}
    for record in records:
        if record.role == "user":
            prompts[record.id] = record
            continue
        prompt = prompts.get(record.parent_id or "")
        if prompt is None or not (prompt.parent_id is None or prompt.parent_id in turns):
            raise ValueError(f"message {record.id} follows none that is here")
        state = "interrupted" if record.state not in _STATES or record.state == "answering" else record.state
        turns[record.id] = Turn(
            prompt.text,
            record.reasoning,
            record.text,
            cast(TurnState, state),
            record.created_at,
            record.figures.get("thinking_seconds"),
            int(record.figures.get("completion_tokens", 0)),
            record.figures.get("tokens_per_second", 0.0),
            record.figures.get("accepted_length", 0.0),
            record.id,
            prompt.id,
            prompt.parent_id,
            _attachments(prompt.figures),
            record.figures.get("first_token_seconds", 0.0),
            record.figures.get("interruption", ""),
            record.figures.get("model", ""),
        )
    return list(turns.values())


def _attachments(figures: dict[str, Any]) -> tuple[Attachment, ...]:
    return tuple(Attachment(one["name"], one["text"]) for one in figures.get("attachments", ()))


def assemble(facts: Mapping[str, Any], turns: list[Turn]) -> Conversation:
    """A conversation from its facts (id, created_at, model, name, settings, leaf_id) and its turns.

    An unknown leaf_id shows the newest path. Raises KeyError, TypeError.
    """
    conversation = Conversation(
        facts["id"], facts["created_at"], facts["model"], [], turns, facts["name"], dict(facts["settings"])
    )
    if turns:
        conversation.select(next((turn for turn in turns if turn.id == facts["leaf_id"]), turns[-1]))
    return conversation


def facts_of(conversation: Conversation) -> dict[str, Any]:
    """What is kept of a conversation beside its messages."""
    return {
        "id": conversation.id,
        "title": conversation.title,
        "name": conversation.name,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "model": conversation.model,
        "settings": conversation.settings,
        "leaf_id": conversation.turns[-1].id if conversation.turns else None,
    }


def to_json(conversation: Conversation) -> str:
    """Our file format: every version of every message."""
    messages: dict[str, MessageRecord] = {}
    for turn in conversation.tree:
        prompt, answer = records_of(turn)
        messages.setdefault(prompt.id, prompt)
        messages[answer.id] = answer
    data = {"format": FORMAT, **facts_of(conversation), "messages": [asdict(record) for record in messages.values()]}
    return json.dumps(data, ensure_ascii=False, indent=1)


def from_json(data: Any) -> Conversation:
    """Read our file format, the older one of a list of turns too. Raises ValueError."""
    if not isinstance(data, dict) or data.get("format") not in (1, FORMAT):
        raise ValueError(f"not a conversation of format 1 or {FORMAT}")
    try:
        if data["format"] == 1:
            return _from_first_format(data)
        conversation = assemble(data, turns_of(MessageRecord(**message) for message in data["messages"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a conversation: {error}") from error
    _check_types(conversation)
    return conversation


def _from_first_format(data: dict[str, Any]) -> Conversation:
    conversation = Conversation(data["id"], data["created_at"], data["model"])
    for fields in data["turns"]:
        turn = Turn(**fields)
        turn.parent_id = conversation.turns[-1].id if conversation.turns else None
        turn.state = "interrupted" if turn.state == "answering" else turn.state
        conversation.turns.append(turn)
        conversation.tree.append(turn)
    _check_types(conversation)
    return conversation


def _check_types(conversation: Conversation) -> None:
    texts: list[Any] = [conversation.id, conversation.model, conversation.name]
    numbers: list[Any] = [conversation.created_at]
    for turn in conversation.tree:
        texts += [turn.prompt, turn.answer, turn.reasoning, turn.id, turn.prompt_id, turn.interruption, turn.model]
        texts += [text for one in turn.attachments for text in (one.name, one.text)]
        numbers += [turn.started_at, turn.completion_tokens, turn.tokens_per_second, turn.accepted_length]
        numbers.append(turn.first_token_seconds)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, (int, float)) for n in numbers):
        raise ValueError("not a conversation: a field has the wrong type")
