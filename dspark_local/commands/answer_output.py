"""Showing an answer while it arrives: the answer itself on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from dspark_local.commands.loading import dim
from dspark_local.commands.report import TraceFile
from dspark_local.commands.stdout import write_stdout
from dspark_local.events import Event, Finished, RoundDone, TextDelta, ToolArgumentsDelta, ToolCallStarted


class AnswerOutput:
    """Collects an answer's texts and, unless quiet, writes them as they come.

    Reasoning goes to stderr, dim, when show_reasoning is set.
    """

    def __init__(self, trace: TraceFile, *, quiet: bool, show_reasoning: bool) -> None:
        self.text = ""
        self.reasoning = ""
        self._trace = trace
        self._quiet = quiet
        self._show_reasoning = show_reasoning and not quiet

    def consume(self, events: Iterable[Event]) -> Finished:
        """Follow an answer to its end."""
        finished: Finished | None = None
        for event in events:
            if isinstance(event, TextDelta):
                self._show(event)
            elif isinstance(event, RoundDone):
                self._trace.write(event)
            elif isinstance(event, ToolCallStarted):
                self._write(f"\n[tool call {event.name}] ")
            elif isinstance(event, ToolArgumentsDelta):
                self._write(event.text)
            elif isinstance(event, Finished):
                finished = event
        if finished is None:
            raise RuntimeError("the engine ended the answer without Finished")
        self._end_line()
        return finished

    def _show(self, event: TextDelta) -> None:
        if event.channel == "content":
            if self._show_reasoning and self.reasoning and not self.text:
                print(file=sys.stderr, flush=True)
            self.text += event.text
            self._write(event.text)
        else:
            self.reasoning += event.text
            if self._show_reasoning:
                print(dim(event.text), end="", file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        if not self._quiet:
            write_stdout(text)

    def _end_line(self) -> None:
        if not self.text.endswith("\n"):
            self._write("\n")
