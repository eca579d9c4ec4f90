"""Collects the parser's events of one push, neighbours of a kind joined."""

from __future__ import annotations

from dspark_local.events import Channel, TextDelta, ToolArgumentsDelta, ToolCallStarted

ParserEvent = TextDelta | ToolCallStarted | ToolArgumentsDelta


class EventList:
    """Grows until taken."""

    def __init__(self) -> None:
        self._events: list[ParserEvent] = []

    def text(self, text: str, channel: Channel) -> None:
        """Append text, if there is any."""
        last = self._events[-1] if self._events else None
        if isinstance(last, TextDelta) and last.channel == channel:
            self._events[-1] = TextDelta(last.text + text, channel)
        elif text:
            self._events.append(TextDelta(text, channel))

    def call(self, index: int, call_id: str, name: str) -> None:
        """A call begins."""
        self._events.append(ToolCallStarted(index, call_id, name))

    def arguments(self, index: int, text: str) -> None:
        """Append to a call's arguments, if there is anything."""
        last = self._events[-1] if self._events else None
        if isinstance(last, ToolArgumentsDelta) and last.index == index:
            self._events[-1] = ToolArgumentsDelta(index, last.text + text)
        elif text:
            self._events.append(ToolArgumentsDelta(index, text))

    def take(self) -> list[ParserEvent]:
        """All events so far; the list starts anew."""
        events, self._events = self._events, []
        return events
