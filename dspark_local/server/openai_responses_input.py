"""The items of a response's input as the messages of a conversation.

Items are finer than messages: one assistant turn may be a reasoning, a message and several calls, in this order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace

from dspark_local.request import ChatMessage, ToolCall
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.schemas.responses_request import Content, WireInputItem

_SEAL = "dspark1."
"""What our encrypted_content begins with: that of another service is passed over."""


def sealed(reasoning: str) -> str:
    """The reasoning in a form that clients keep and send back unread. It is no secret, and not encrypted."""
    return _SEAL + base64.b64encode(reasoning.encode()).decode()


def messages_of(instructions: str | None, items: str | Sequence[WireInputItem]) -> list[ChatMessage]:
    """The conversation, the instructions in front. Items that mean nothing to the model are left out.

    Instructions and the system and developer messages before anything else become one system message, because V4
    reads tools and forms at the end of the first. Raises RequestFaultError for what cannot be left out silently.
    """
    reader = _Reader()
    if instructions:
        reader.messages.append(ChatMessage("system", instructions))
    for number, item in enumerate([WireInputItem(role="user", content=items)] if isinstance(items, str) else items):
        reader.read(item, f"input.{number}")
    return reader.messages


class _Reader:
    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self._reasoning: str | None = None
        self._turn_open = False  # the last message is the assistant's, and further items may belong to it

    def read(self, item: WireInputItem, where: str) -> None:
        if item.type == "message":
            self._message(item, where)
        elif item.type == "reasoning":
            self._turn_open = False
            self._reasoning = _reasoning(item, where)
        elif item.type == "function_call":
            self._call(item, where)
        elif item.type == "function_call_output":
            if item.call_id is None or item.output is None:
                raise RequestFaultError(f"{where}: a function_call_output needs call_id and output.", param=where)
            self._append(ChatMessage("tool", _text(item.output, where), tool_call_id=item.call_id))
        elif item.type == "item_reference":
            raise RequestFaultError(
                f"{where} refers to an earlier item, but this server stores nothing.",
                code="unsupported_value",
                param=where,
                hint="Send the item itself.",
            )

    def _message(self, item: WireInputItem, where: str) -> None:
        text = _text(item.content, where)
        if item.role is None:
            raise RequestFaultError(f"{where}: a message needs a role.", param=where)
        if item.role == "assistant":
            self._assistant(text)
        elif item.role == "user":
            self._append(ChatMessage("user", text))
        elif self.messages and all(message.role == "system" for message in self.messages):
            self.messages[0] = replace(self.messages[0], content=f"{self.messages[0].content}\n\n{text}")
        else:
            self._append(ChatMessage("system", text))

    def _assistant(self, text: str) -> None:
        last = self.messages[-1] if self._turn_open else None
        if last is not None and not last.tool_calls:
            self.messages[-1] = replace(last, content=last.content + text)
        else:
            self._append(ChatMessage("assistant", text, reasoning=self._take_reasoning()))
        self._turn_open = True

    def _call(self, item: WireInputItem, where: str) -> None:
        if item.call_id is None or item.name is None:
            raise RequestFaultError(f"{where}: a function_call needs call_id and name.", param=where)
        if not self._turn_open:
            self._assistant("")
        call = ToolCall(item.call_id, item.name, item.arguments or "{}")
        self.messages[-1] = replace(self.messages[-1], tool_calls=(*self.messages[-1].tool_calls, call))

    def _append(self, message: ChatMessage) -> None:
        self._turn_open = False
        self._reasoning = None
        self.messages.append(message)

    def _take_reasoning(self) -> str | None:
        taken, self._reasoning = self._reasoning, None
        return taken


def _reasoning(item: WireInputItem, where: str) -> str | None:
    if item.content:
        return _text(item.content, where)
    if item.encrypted_content is not None and item.encrypted_content.startswith(_SEAL):
        try:
            return base64.b64decode(item.encrypted_content.removeprefix(_SEAL), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RequestFaultError(f"{where}: encrypted_content is damaged.", param=where) from error
    return "\n\n".join(part.text or "" for part in item.summary or ()) or None


def _text(content: Content | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.text is None and part.refusal is None:
            message = f"{where}: content of type {part.type[:40]!r} is not supported, only text."
            raise RequestFaultError(message, code="unsupported_value", param=where)
    return "".join(part.text or part.refusal or "" for part in content)
