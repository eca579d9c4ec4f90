"""Where each piece of an answer came from: drafted, copied from the text, or the model's own. Knows no widget.

The stream brings the text first and then, pass by pass, the texts of its tokens. A few characters of a pass may be
held back by the server (the beginning of what could be markup) and arrive with a later one; the first token belongs to
no pass at all. So the texts are laid against the stream, and what none of them explains counts as the model's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.events import Finished, TextDelta

Source = Literal["own", "draft", "lookup"]


@dataclass
class TokenSources:
    """The latest answer in runs of one source each. is_told turns True when the server tells the texts of its tokens.

    counts are tokens by source; revision changes with everything that would look different.
    """

    runs: list[tuple[str, Source]] = field(default_factory=list)
    counts: dict[Source, int] = field(default_factory=lambda: {"own": 0, "draft": 0, "lookup": 0})
    is_told: bool = False
    revision: int = 0
    _streamed: str = ""
    _waiting: deque[tuple[str, Source]] = field(default_factory=deque)
    _channel: str = ""
    _before_break: int | None = None

    def begin(self) -> None:
        """A new answer."""
        self.runs, self._streamed, self._channel = [], "", ""
        self._before_break = None
        self._waiting.clear()
        self.counts = {"own": 0, "draft": 0, "lookup": 0}
        self.is_told = False
        self.revision += 1

    def take(self, event: ClientEvent) -> None:
        """Take in the next event of the answer."""
        match event:
            case TextDelta(text, channel):
                if self._channel not in ("", channel):  # reasoning and answer are paragraphs of their own
                    self._before_break = len(self._streamed)
                self._channel = channel
                self._streamed += text
            case RoundSummary():
                self._note(event)
            case Finished():
                self._explain(is_last=True)
            case _:
                return
        self.revision += 1

    def tail(self, characters: int) -> Iterator[tuple[str, Source]]:
        """The last characters of what has arrived, in runs."""
        runs = [*self.runs, (self._streamed, "own")] if self._streamed and not self.is_told else self.runs
        kept: list[tuple[str, Source]] = []
        for text, source in reversed(runs):
            kept.append((text[-characters:], source))
            characters -= len(text)
            if characters <= 0:
                break
        return reversed(kept)

    def _note(self, done: RoundSummary) -> None:
        if not done.texts:
            return
        self.is_told = True
        drafted = done.drafted - done.copied if done.source == "draft" else 0
        for place, text in enumerate(done.texts):
            source: Source = "own" if place >= done.accepted else "draft" if place < drafted else "lookup"
            self.counts[source] += 1
            self._waiting.append((text, source))
        self._explain()

    def _explain(self, *, is_last: bool = False) -> None:
        """Give what has been streamed its sources, as far as the texts of the tokens are known."""
        told = "".join(text for text, _ in self._waiting)
        streamed, self._streamed = self._streamed, ""
        overlap = next((n for n in range(min(len(told), len(streamed)), 0, -1) if streamed.endswith(told[:n])), 0)
        skipped = told.find(streamed) if streamed and not overlap else 0
        if skipped > 0:  # the server left something out that the tokens say, such as white space before a call
            self._spend(skipped)
            overlap = len(streamed)
        elif skipped < 0 and not is_last:  # they cannot be brought together: begin anew with the next pass
            self._waiting.clear()
        self._add(streamed[: len(streamed) - overlap], "own")
        for text, source in self._spend(overlap):
            self._add(text, source)

    def _spend(self, characters: int) -> list[tuple[str, Source]]:
        """Take so many characters off the texts that wait."""
        spent: list[tuple[str, Source]] = []
        while self._waiting and (characters > 0 or not self._waiting[0][0]):
            text, source = self._waiting.popleft()
            spent.append((text[:characters], source))
            if len(text) > characters:
                self._waiting.appendleft((text[characters:], source))
            characters -= len(text)
        return spent

    def _add(self, text: str, source: Source) -> None:
        if not text:
            return
        if (room := self._before_break) is not None:
            if len(text) > room:
                self._before_break = None
                self._add(text[:room], source)
                self._add("\n\n", "own")
                text = text[room:]
            else:
                self._before_break = room - len(text)
        if self.runs and self.runs[-1][1] == source:
            self.runs[-1] = (self.runs[-1][0] + text, source)
        else:
            self.runs.append((text, source))
