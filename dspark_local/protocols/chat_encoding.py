"""A conversation as the exact prompt that DeepSeek-V4 was trained on.

V4 has no system token, no newline between turns, and tool results live inside user turns. Source: the encoder that
ships with the release, in its preview and 0731 forms, which differ in the names of the effort levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspark_local.errors import UsageError
from dspark_local.protocols.drop_thinking import drop_old_thinking, drops_thinking, last_question
from dspark_local.protocols.effort import Effort, EffortDialect, effort_prefix
from dspark_local.protocols.segments import Segment, content, joined, markup
from dspark_local.protocols.special_tokens import (
    ASSISTANT,
    BOS,
    EOS,
    LATEST_REMINDER,
    TASK_TOKENS,
    THINK_CLOSE,
    THINK_OPEN,
    USER,
    QuickTask,
)
from dspark_local.protocols.system_blocks import response_format_block, tools_block
from dspark_local.protocols.tool_call_markup import tool_calls_block
from dspark_local.protocols.turns import Turn, UserPart, to_turns, with_tools
from dspark_local.request import ChatMessage, ThinkingMode


def encode_chat(
    messages: Sequence[ChatMessage],
    *,
    thinking: ThinkingMode,
    reasoning_effort: Effort | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    drop_thinking: bool = True,
    effort_dialect: EffortDialect = "0731",
    task: QuickTask | None = None,
    transcript: bool = False,
) -> str:
    """The prompt as one string, BOS included. To tokenize it, use encode_chat_segments and ChatTokenizer instead.

    tools are OpenAI tool objects; they go to the first system message. task asks for one of the model's quick tasks on
    the last user message. With transcript the conversation may end with the assistant's answer, as training text does.
    A last message marked as prefix stays open: what follows goes on from it.
    Raises UsageError where the order of roles has no meaning.
    """
    segments = encode_chat_segments(
        messages,
        thinking=thinking,
        reasoning_effort=reasoning_effort,
        tools=tools,
        drop_thinking=drop_thinking,
        effort_dialect=effort_dialect,
        task=task,
        transcript=transcript,
    )
    return "".join(segment.text for segment in segments)


def encode_chat_segments(
    messages: Sequence[ChatMessage],
    *,
    thinking: ThinkingMode,
    reasoning_effort: Effort | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    drop_thinking: bool = True,
    effort_dialect: EffortDialect = "0731",
    task: QuickTask | None = None,
    transcript: bool = False,
) -> list[Segment]:
    """As encode_chat, in pieces that tell the encoder's markup from text that came from outside."""
    turns = to_turns(with_tools(messages, tools))
    _check_end(turns, task, transcript)
    dropping = thinking == "thinking" and drops_thinking(turns, drop_thinking)
    if dropping:
        turns = drop_old_thinking(turns)
    # From this turn on the model sees reasoning.
    thinks_from = len(turns) + 1 if thinking == "chat" else last_question(turns) if dropping else -1

    out = [markup(BOS), markup(effort_prefix(thinking, reasoning_effort, effort_dialect))]
    for index, turn in enumerate(turns):
        if turn.role == "assistant":
            thinks = index > thinks_from
            answer = _beginning if turn.message.prefix else _assistant
            out += [*_open_answer(thinks), *answer(turn.message, thinks)]
        else:
            out += _asking_turn(turn)
    if turns[-1].role != "assistant":
        out += _open_end(thinking == "thinking", task)
    return [segment for segment in out if segment.text]


def _check_end(turns: Sequence[Turn], task: QuickTask | None, transcript: bool) -> None:
    if not turns:
        raise UsageError("The conversation has no messages.", hint="Send at least one user message.")
    last = turns[-1].role
    may_end = transcript or turns[-1].message.prefix
    if last == "latest_reminder" or (last == "assistant" and not may_end):
        raise UsageError(
            f"The conversation ends with a message of role {last}, so there is nothing to answer.",
            hint="End it with a user message or a tool result.",
        )
    if task is not None and not turns[-1].is_question:
        raise UsageError(
            f"The quick task {task!r} needs a user message at the end, not one of role {last}.",
            hint="Put the user message last or leave the task out.",
        )


def _open_answer(thinks: bool) -> list[Segment]:
    return [markup(ASSISTANT), markup(THINK_OPEN if thinks else THINK_CLOSE)]


def _open_end(thinks: bool, task: QuickTask | None) -> list[Segment]:
    """What makes the model answer. A quick task other than an action is asked for by its token alone."""
    if task is None:
        return _open_answer(thinks)
    token = markup(TASK_TOKENS[task])
    return [*_open_answer(thinks), token] if task == "action" else [token]


def _assistant(message: ChatMessage, thinks: bool) -> list[Segment]:
    out = [content(message.reasoning or ""), markup(THINK_CLOSE)] if thinks else []
    out.append(content(message.content))
    if message.tool_calls:
        out += [markup("\n\n"), *tool_calls_block(message.tool_calls)]
    return [*out, markup(EOS)]


def _beginning(message: ChatMessage, thinks: bool) -> list[Segment]:
    """An answer that was cut: in its content, or without any in its reasoning."""
    thought = [content(message.reasoning or "")] if thinks else []
    if thinks and message.content:
        thought.append(markup(THINK_CLOSE))
    return [*thought, content(message.content)]


def _asking_turn(turn: Turn) -> list[Segment]:
    if turn.role == "user":
        parts = [_user_part(part) for part in turn.parts]
        return [markup(USER), *joined(markup("\n\n"), parts)]
    if turn.role == "latest_reminder":
        return [markup(LATEST_REMINDER), content(turn.message.content)]
    role_token = [markup(USER)] if turn.role == "developer" else []
    return [*role_token, *_with_blocks(turn.message)]


def _user_part(part: UserPart) -> list[Segment]:
    if not part.is_tool_result:
        return [content(part.text)]
    return [markup("<tool_result>"), content(part.text), markup("</tool_result>")]


def _with_blocks(message: ChatMessage) -> list[Segment]:
    groups = [[content(message.content)]]
    if message.tools:
        groups.append(tools_block(message.tools))
    if message.response_format:
        groups.append(response_format_block(message.response_format))
    return joined(markup("\n\n"), groups)
