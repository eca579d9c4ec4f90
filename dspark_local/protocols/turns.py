"""From messages to the turns that V4 knows: checked, tool results merged into user turns and put in call order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dspark_local.errors import UsageError
from dspark_local.request import ChatMessage, Role

_OPENS_AN_ANSWER: tuple[Role, ...] = ("user", "developer", "system")


class UserPart(NamedTuple):
    """A message of a person, or the result of a tool, inside one user turn."""

    text: str
    is_tool_result: bool = False
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `parts` holds what a user turn says; the others are told by `message` alone. role is never tool."""

    role: Role
    message: ChatMessage
    parts: tuple[UserPart, ...] = ()

    @property
    def is_question(self) -> bool:
        """True for the turns that decide which reasoning is old: user (tool results included) and developer."""
        return self.role in ("user", "developer")


def with_tools(messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]]) -> list[ChatMessage]:
    """Attach the request's tools to the first system message; an empty one is put in front where there is none."""
    out = list(messages)
    if not tools:
        return out
    place = next((i for i, m in enumerate(out) if m.role == "system"), None)
    if place is None:
        return [ChatMessage("system", tools=tuple(tools)), *out]
    out[place] = replace(out[place], tools=(*out[place].tools, *tools))
    return out


def to_turns(messages: Sequence[ChatMessage]) -> list[Turn]:
    """Merge and check. UsageError names the message (counted from 1) that stands where it cannot."""
    turns: list[Turn] = []
    call_order: dict[str, int] | None = (
        None  # None: no assistant message has called a tool since the last one that did not
    )
    for number, message in enumerate(messages, start=1):
        previous = turns[-1].role if turns else None
        if message.role == "assistant":
            _check_assistant(number, message, previous)
            call_order = {call.id: i for i, call in enumerate(message.tool_calls)} if message.tool_calls else None
        elif message.role == "tool":
            _check_tool_result(number, message, call_order)
        elif message.role == "developer" and not message.content:
            raise UsageError(f"Message {number} (developer) is empty.", hint="Give it text or leave it out.")
        elif message.role == "latest_reminder" and previous in ("user", "developer"):
            raise UsageError(
                f"Message {number} (latest_reminder) follows a {previous} message.",
                hint="Put the reminder directly before the user's message.",
            )
        _append(turns, message)
    return [_in_call_order(turn, turns[:index]) for index, turn in enumerate(turns)]


def _check_assistant(number: int, message: ChatMessage, previous: Role | None) -> None:
    if previous in _OPENS_AN_ANSWER:
        return
    where = f"follows a message of role {previous}" if previous else "is the first"
    raise UsageError(
        f"Message {number} (assistant) {where}; an answer needs something to answer.",
        hint="Put a user, developer or system message before it.",
    )


def _check_tool_result(number: int, message: ChatMessage, call_order: dict[str, int] | None) -> None:
    if call_order is None:
        raise UsageError(
            f"Message {number} (tool) is a result, but the assistant message before it called no tool.",
            hint="Send the assistant message with its tool_calls before the results.",
        )
    if message.tool_call_id is not None and message.tool_call_id not in call_order:
        known = ", ".join(call_order)
        raise UsageError(
            f"Message {number} (tool) answers call {message.tool_call_id!r}, which was not made.",
            hint=f"The calls of the assistant message before it are: {known}.",
        )


def _append(turns: list[Turn], message: ChatMessage) -> None:
    if message.role not in ("user", "tool"):
        turns.append(Turn(message.role, message))
        return
    part = UserPart(message.content, message.role == "tool", message.tool_call_id)
    if turns and turns[-1].role == "user":
        turns[-1] = replace(turns[-1], parts=(*turns[-1].parts, part))
    else:
        turns.append(Turn("user", message, (part,)))


def _in_call_order(turn: Turn, before: Sequence[Turn]) -> Turn:
    """Results take the places of results in the order of their calls; a person's words stay where they are."""
    results = [part for part in turn.parts if part.is_tool_result]
    if len(results) < 2:
        return turn
    calls = next(t.message.tool_calls for t in reversed(before) if t.role == "assistant")
    rank = {call.id: i for i, call in enumerate(calls)}
    in_order = iter(sorted(results, key=lambda part: rank.get(part.call_id or "", 0)))
    return replace(turn, parts=tuple(next(in_order) if part.is_tool_result else part for part in turn.parts))
