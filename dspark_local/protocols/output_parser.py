"""The model's output as events: reasoning, content and tool calls, while it arrives, without any markup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import uuid4

from dspark_local.events import Channel
from dspark_local.protocols.dsml import ToolBlockParser, begins_block
from dspark_local.protocols.dsml_tags import NoTag, read_tag
from dspark_local.protocols.event_list import EventList, ParserEvent
from dspark_local.protocols.markup_scan import MarkupScanner, without_newlines
from dspark_local.protocols.special_tokens import EOS, MARKUP_TOKENS, THINK_CLOSE
from dspark_local.request import ThinkingMode


def _new_call_id() -> str:
    return f"call_{uuid4().hex[:24]}"


@lru_cache(maxsize=4)
def _scanner(extra_tokens: frozenset[str]) -> MarkupScanner:
    """Kept between answers: a release has over a thousand special tokens."""
    return MarkupScanner({*MARKUP_TOKENS, *extra_tokens})


class OutputParser:
    """Feed it the decoded text, special tokens spelled out, in fragments of any size.

    It holds back only what may still become markup, and up to two newlines, which belong to a tool block if one
    follows. Joined, the events do not depend on how the text was cut. It never refuses an output: what is malformed is
    mended where its meaning is clear, dropped otherwise, and listed in `problems`.

    extra_tokens: spellings of further special tokens (ChatTokenizer.markup_spellings) to be kept out of the text.
    """

    def __init__(
        self,
        thinking: ThinkingMode,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        extra_tokens: Iterable[str] = (),
        new_call_id: Callable[[], str] = _new_call_id,
    ) -> None:
        self._channel: Channel = "reasoning" if thinking == "thinking" else "content"
        self._in_tools = False
        self._buffer = ""
        self._events = EventList()
        self._problems: dict[str, None] = {}
        self._scanner = _scanner(frozenset(extra_tokens))
        self._tools = ToolBlockParser(tools, new_call_id, self._events, self._note)

    @property
    def channel(self) -> Channel:
        """Where text stands at present."""
        return self._channel

    @property
    def is_in_tools(self) -> bool:
        """True once a tool block has begun."""
        return self._in_tools

    @property
    def tool_call_count(self) -> int:
        """How many tool calls have begun."""
        return self._tools.call_count

    @property
    def problems(self) -> tuple[str, ...]:
        """What was malformed so far, each kind once, in order."""
        return tuple(self._problems)

    def push(self, text: str) -> list[ParserEvent]:
        """The events that this fragment completes."""
        self._buffer += text
        self._run(final=False)
        return self._events.take()

    def finish(self, *, truncated: bool = False) -> list[ParserEvent]:
        """What was held back. Call it once, after the last push.

        truncated: the output was cut (length, cancelled) instead of ended by the model. Then an open tool call stays
        open, its arguments deliberately no valid JSON: half a command must not be executed. Otherwise it is completed.
        """
        if truncated:
            self._buffer = ""
        else:
            self._run(final=True)
            self._tools.end_calls()
        return self._events.take()

    def _run(self, *, final: bool) -> None:
        go_on = True
        while go_on and self._buffer:
            if self._in_tools:
                self._buffer, go_on = self._tools.step(self._buffer, final=final)
            else:
                go_on = self._text_step(final)

    def _text_step(self, final: bool) -> bool:
        """Use some of the buffer; False when nothing more can be done with it now."""
        text = self._buffer
        found = self._scanner.find(text)
        if found is None:
            end = len(text) if final else without_newlines(text, self._scanner.plain_end(text), 2)
            self._emit(end)
            return False
        if found["token"]:
            self._emit(found.start(), drop=found.end())
            self._special_token(found["token"])
            return True
        tag = read_tag(text, found, final=final)
        if tag is NoTag.NOT_YET:
            self._emit(without_newlines(text, found.start(), 2))
            return False
        if isinstance(tag, NoTag):
            self._emit(found.start(), drop=found.end())
            self._note("a DSML marker without a known tag was dropped")
        elif not begins_block(tag):
            self._emit(found.start(), drop=tag.end)
            self._note(f"a {tag.name} tag outside a tool block was dropped")
        else:
            self._emit(without_newlines(text, found.start(), 2), drop=tag.end)
            self._begin_tools(tag.name)
            self._tools.handle(tag)
        return True

    def _emit(self, end: int, *, drop: int | None = None) -> None:
        """Text up to `end` goes out; the buffer goes on after `drop` (after `end` by default)."""
        self._events.text(self._buffer[:end], self._channel)
        self._buffer = self._buffer[end if drop is None else drop :]

    def _special_token(self, token: str) -> None:
        if token == THINK_CLOSE and self._channel == "reasoning":
            self._channel = "content"
        elif token != EOS:
            self._note(f"a stray {token} was dropped")

    def _begin_tools(self, first_tag: str) -> None:
        if self._channel == "reasoning":
            self._note("the tool calls began inside the reasoning")
            self._channel = "content"
        if first_tag == "invoke":
            self._note("a call came without the block's opener")
        self._in_tools = True

    def _note(self, problem: str) -> None:
        self._problems[problem] = None
