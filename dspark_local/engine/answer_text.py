"""From decided tokens to what a reader sees: whole characters, no markup, nothing after a stop string."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from dspark_local.engine.logprobs import TokenScore
from dspark_local.events import Event, TextDelta, TokenLogprobs, ToolCallStarted
from dspark_local.protocols.detokenize import IncrementalDetokenizer
from dspark_local.protocols.output_parser import OutputParser
from dspark_local.protocols.stop_strings import StopStrings


class AnswerText:
    """Reads an answer token by token.

    With a parser the text is a chat answer: reasoning and tool calls are told apart, and stop strings are looked for
    in the content alone. Without one all is content, markup spelled out. silent_ids (end tokens) give no text.
    token_bytes gives the bytes of an id; it is needed where tokens are scored.
    """

    def __init__(
        self,
        detokenizer: IncrementalDetokenizer,
        stops: StopStrings,
        parser: OutputParser | None = None,
        silent_ids: Collection[int] = (),
        token_bytes: Callable[[int], bytes] | None = None,
    ) -> None:
        self.reasoning_tokens = 0
        self.has_tool_calls = False
        self._detokenizer = detokenizer
        self._stops = stops
        self._parser = parser
        self._silent_ids = silent_ids
        self._token_bytes = token_bytes
        self._stopped = False
        self._events: list[Event] = []

    @property
    def stop_string(self) -> str | None:
        """The stop string that ended the answer."""
        return self._stops.met

    def watch(self, token: int) -> bool:
        """Take in a token; True when a stop string is complete."""
        if self._parser is not None and self._parser.channel == "reasoning":
            self.reasoning_tokens += 1
        if token not in self._silent_ids:
            self._read(self._detokenizer.push([token]))
        return self._stopped

    def score(self, score: TokenScore) -> None:
        """Tell how likely the token is that `watch` takes in next. End tokens and tool calls are left out."""
        if self._token_bytes is None:
            raise RuntimeError("scoring tokens needs token_bytes")
        in_markup = self._parser is not None and self._parser.is_in_tools
        if score.token in self._silent_ids or in_markup or self._stopped:
            return
        top = tuple((token, self._token_bytes(token), logprob) for token, logprob in score.top)
        channel = self._parser.channel if self._parser is not None else "content"
        self._append(TokenLogprobs(score.token, self._token_bytes(score.token), score.logprob, top, channel))

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def finish(self, *, truncated: bool) -> list[Event]:
        """What was held back; truncated when the answer was cut by a limit or a cancel."""
        if not self._stopped:
            self._read(self._detokenizer.finish())
            if self._parser is not None:
                self._add(self._parser.finish(truncated=truncated))
            self._append(TextDelta(self._stops.finish()))
        return self.take()

    def _read(self, text: str) -> None:
        if text:
            self._add(self._parser.push(text) if self._parser is not None else [TextDelta(text)])

    def _add(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._stopped:
                return
            if isinstance(event, TextDelta) and event.channel == "content":
                text, self._stopped = self._stops.push(event.text)
                self._append(TextDelta(text))
            else:
                self.has_tool_calls = self.has_tool_calls or isinstance(event, ToolCallStarted)
                self._append(event)

    def _append(self, event: Event) -> None:
        """Neighbouring pieces of one channel become one event, so that a round sends one."""
        last = self._events[-1] if self._events else None
        if isinstance(event, TextDelta):
            if not event.text:
                return
            if isinstance(last, TextDelta) and last.channel == event.channel:
                self._events[-1] = TextDelta(last.text + event.text, event.channel)
                return
        self._events.append(event)
