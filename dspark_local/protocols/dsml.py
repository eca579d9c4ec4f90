"""The tool-call block of an answer, parsed while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from dspark_local.protocols.dsml_tags import NoTag, Tag, read_tag
from dspark_local.protocols.event_list import EventList
from dspark_local.protocols.markup_scan import MarkupScanner, without_newlines
from dspark_local.protocols.special_tokens import EOS
from dspark_local.protocols.tool_arguments import ArgumentsWriter, schema_properties

# Inside a block only the end of the answer and DSML tags are markup: a file that a tool shall write may well contain
# "</think>".
_SCANNER = MarkupScanner((EOS,))

_Place = Literal["between calls", "in a call", "in a value", "after the calls"]


class ToolBlockParser:
    """Everything from the first tag of a block on: calls to events, the rest of the text dropped.

    Tolerates a missing opener, missing closing tags, unknown tags and text where none belongs; `note` hears of each.
    """

    def __init__(
        self,
        tools: Sequence[Mapping[str, Any]],
        new_call_id: Callable[[], str],
        events: EventList,
        note: Callable[[str], None],
    ) -> None:
        self.call_count = 0
        self._properties = schema_properties(tools)
        self._new_call_id = new_call_id
        self._events = events
        self._note = note
        self._place: _Place = "after the calls"
        self._call: ArgumentsWriter | None = None  # None in a call without a name, whose parameters are dropped

    def handle(self, tag: Tag) -> None:
        """Act on one tag; the first one brings the parser into the block."""
        if not tag.is_whole:
            self._note(f"a {tag.name} tag has no closing bracket")
        if tag.is_closing:
            self._close(tag)
        else:
            self._open(tag)

    def step(self, text: str, *, final: bool) -> tuple[str, bool]:
        """(what is left of text, whether another step can go on with it)."""
        found = _SCANNER.find(text)
        if found is None:
            return self._take(text, len(text) if final else _SCANNER.plain_end(text), keep_newline=not final), False
        if found["token"]:
            self._take(text, found.start())
            self.end_calls()
            return text[found.end() :], True
        tag = read_tag(text, found, final=final)
        if tag is NoTag.NOT_YET:
            return self._take(text, found.start(), keep_newline=True), False
        if isinstance(tag, NoTag) or self._is_value_text(tag):
            return self._take(text, found.end()), True
        is_value_end = tag.is_closing and tag.name == "parameter"
        # The newline before any other tag belongs to the tag: a closing tag is missing there.
        self._take(text, found.start() if is_value_end else without_newlines(text, found.start(), 1))
        self.handle(tag)
        return text[tag.end :], True

    def end_calls(self) -> None:
        """The answer is over: complete what is open."""
        self._end_call("the answer ended")
        self._place = "after the calls"

    def _is_value_text(self, tag: Tag) -> bool:
        """A value may quote the opening of a block, for a call cannot contain one."""
        return self._place == "in a value" and tag.name == "block" and not tag.is_closing

    def _take(self, text: str, end: int, *, keep_newline: bool = False) -> str:
        """Use text up to `end`, return the rest; keep_newline leaves a newline in the rest."""
        if self._place == "in a value":
            if keep_newline:
                end = without_newlines(text, end, 1)
            self._write(self._call.feed(text[:end]) if self._call else "")
        elif text[:end].strip():
            self._note(f"text {self._place} was dropped")
        return text[end:]

    def _open(self, tag: Tag) -> None:
        if tag.name == "block":
            self._end_call("another block")
            self._place = "between calls"
        elif tag.name == "invoke":
            self._end_call("another call")
            self._begin_call(tag.attributes.get("name", ""))
        elif self._place in ("in a call", "in a value"):
            self._end_value("another parameter")
            self._begin_value(tag)
        else:
            self._note("a parameter outside a call was dropped")

    def _close(self, tag: Tag) -> None:
        if tag.name == "block":
            self._end_call("the end of the block")
            self._place = "after the calls"
        elif tag.name == "invoke" and self._place in ("in a call", "in a value"):
            self._end_call(None)
        elif tag.name == "parameter" and self._place == "in a value":
            self._end_value(None)
        else:
            self._note(f"a closing {tag.name} tag without an opening one was dropped")

    def _begin_call(self, name: str) -> None:
        self._place = "in a call"
        if not name:
            self._note("a call without a name was dropped")
            return
        self._call = ArgumentsWriter(self._properties.get(name))
        self._events.call(self.call_count, self._new_call_id(), name)
        self.call_count += 1

    def _end_call(self, instead: str | None) -> None:
        """`instead` says what came in place of the closing tag, None for the closing tag itself."""
        if self._place not in ("in a call", "in a value"):
            return
        self._end_value("the end of the call" if instead is None else instead)
        if instead is not None:
            self._note(f"a call has no closing tag: {instead} came first")
        if self._call is not None:
            self._write(self._call.finish())
            for problem in self._call.problems:
                self._note(problem)
        self._call = None
        self._place = "between calls"

    def _begin_value(self, tag: Tag) -> None:
        self._place = "in a value"
        kind = tag.attributes.get("string")
        if kind not in ("true", "false"):
            self._note("a parameter does not say whether it is a string")
        is_string = {"true": True, "false": False}.get(kind or "")
        name = tag.attributes.get("name", "")
        if not name:
            self._note("a parameter without a name was dropped")
        elif self._call is not None:
            self._write(self._call.begin(name, is_string))

    def _end_value(self, instead: str | None) -> None:
        if self._place != "in a value":
            return
        if instead is not None:
            self._note(f"a parameter has no closing tag: {instead} came first")
        self._write(self._call.end_value() if self._call else "")
        self._place = "in a call"

    def _write(self, piece: str) -> None:
        if piece:
            self._events.arguments(self.call_count - 1, piece)


def begins_block(tag: Tag) -> bool:
    """True for the tags that end the text: a block's opener, or a call that comes without one."""
    return not tag.is_closing and tag.name in ("block", "invoke")
