"""From the blocks of Anthropic's messages to the engine's messages. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dspark_local.request import ChatMessage, ToolCall
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.schemas.anthropic import ContentBlock, InputMessage, TextPart

_BILLING_HEADER = "x-anthropic-billing-header:"
_BETWEEN_BLOCKS = "\n\n"  # what the model's own encoding puts between the parts of a turn
# The model knows no system turn but the first: a later one would run into the words before it. So it becomes part of
# the user's turn, in the form in which Claude Code itself puts such words there.
_REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def system_text(system: str | Sequence[TextPart] | None) -> str:
    """The system prompt as one text, without the line that Claude Code writes for Anthropic's accounting.

    That line holds a hash which changes between requests. It stands in front of everything, so with it no request
    could reuse the cached prefix of another. Raises RequestFaultError for parts that are not text.
    """
    if system is None:
        return ""
    texts = [system] if isinstance(system, str) else [_text_of(part.type, part.text, "system") for part in system]
    return _BETWEEN_BLOCKS.join(text for text in map(_without_billing_header, texts) if text)


def to_messages(turns: Sequence[InputMessage]) -> list[ChatMessage]:
    """The conversation in order; neighbouring assistant turns become one, as Anthropic's API has it.

    A last turn of the assistant's is the beginning of the answer, unless it calls a tool.
    Raises RequestFaultError, which names the field, for images and other blocks that the model cannot read.
    """
    out: list[ChatMessage] = []
    for index, turn in enumerate(turns):
        place = f"messages.{index}.content"
        blocks = [ContentBlock(type="text", text=turn.content)] if isinstance(turn.content, str) else turn.content
        if turn.role == "assistant":
            message = _assistant(blocks, place)
            if out and out[-1].role == "assistant":
                out[-1] = _joined(out[-1], message)
            else:
                out.append(message)
        elif turn.role == "system":
            out += [ChatMessage("user", _REMINDER.format(_text_of(block.type, block.text, place))) for block in blocks]
        else:
            out += list(_user(blocks, place)) or [ChatMessage("user")]
    if out and out[-1].role == "assistant" and not out[-1].tool_calls:
        out[-1] = replace(out[-1], prefix=True)
    return out


def _without_billing_header(text: str) -> str:
    return text.partition("\n")[2] if text.startswith(_BILLING_HEADER) else text


def _user(blocks: Sequence[ContentBlock], place: str) -> Iterator[ChatMessage]:
    for block in blocks:
        if block.type == "tool_result":
            yield ChatMessage("tool", _result_text(block), tool_call_id=_required(block.tool_use_id, block, place))
        elif block.type == "document" and (block.source or {}).get("type") == "text":
            yield ChatMessage("user", str((block.source or {}).get("data", "")))
        else:
            yield ChatMessage("user", _text_of(block.type, block.text, place))


def _result_text(block: ContentBlock) -> str:
    """A result goes on without the parts that cannot be read: refusing it would end an agent's session for good."""
    if block.content is None or isinstance(block.content, str):
        text = block.content or ""
    else:
        parts = (
            part.text if part.type == "text" and part.text is not None else f"[Unsupported {part.type[:40]}]"
            for part in block.content
        )
        text = _BETWEEN_BLOCKS.join(parts)
    return f"Error: {text}" if block.is_error else text


def _assistant(blocks: Sequence[ContentBlock], place: str) -> ChatMessage:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in blocks:
        if block.type == "thinking":
            thoughts.append(block.thinking or "")
        elif block.type == "redacted_thinking":
            continue  # another server's secret
        elif block.type == "tool_use":
            arguments = json.dumps(block.input or {}, ensure_ascii=False)
            calls.append(ToolCall(_required(block.id, block, place), _required(block.name, block, place), arguments))
        else:
            texts.append(_text_of(block.type, block.text, place))
    return ChatMessage(
        "assistant", "".join(texts), reasoning="\n".join(thoughts) if thoughts else None, tool_calls=tuple(calls)
    )


def _joined(first: ChatMessage, second: ChatMessage) -> ChatMessage:
    thoughts = [text for text in (first.reasoning, second.reasoning) if text]
    return replace(
        first,
        content=first.content + second.content,
        reasoning="\n".join(thoughts) or None,
        tool_calls=(*first.tool_calls, *second.tool_calls),
    )


def _text_of(kind: str, text: str | None, place: str) -> str:
    if kind == "text" and text is not None:
        return text
    if kind in ("image", "document"):
        message = f"{place}: this model reads text only, and cannot see a block of type {kind!r}."
        hint = "Send the text of it instead."
    else:
        message, hint = f"{place}: a block of type {kind[:40]!r} cannot be read here, or lacks its text.", ""
    raise RequestFaultError(message, code="unsupported_value", param=place, hint=hint)


def _required(value: str | None, block: ContentBlock, place: str) -> str:
    if value:
        return value
    names = "id and a name" if block.type == "tool_use" else "tool_use_id"
    raise RequestFaultError(f"{place}: a {block.type} block needs its {names}.", param=place)
