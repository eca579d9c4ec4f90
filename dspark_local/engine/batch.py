"""Answers that share passes and come and go between steps.

A step runs at most one chunk of one newcomer's prompt, the one that has waited longest, and then one round of
everybody who was decoding. So a long prompt holds the others up by a chunk at a time, and every answer that decodes
advances in every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from dspark_local.backend import Cancelled
from dspark_local.engine.decoding import Decoding
from dspark_local.engine.rounds import Rounds
from dspark_local.engine.session import Session
from dspark_local.engine.task import Progress, Task
from dspark_local.events import PrefillProgress


@dataclass(slots=True)
class _Member:
    """An answer in the batch; `prefill` is None once its prompt has been read."""

    decoding: Decoding
    prefill: Iterator[Progress] | None


class Batch:
    """The answers under way, by number. All their sessions are of one target."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self._members: dict[int, _Member] = {}  # oldest first
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, session: Session, task: Task, cancelled: Cancelled) -> int:
        """Take an answer in, whose prompt has passed check_prompt; returns its number. Nobody else uses the session.

        `cancelled` is asked in every step, before anything of this answer runs.
        """
        decoding = Decoding(session, task, cancelled, self.rounds.clock)
        number = next(self._numbers)
        self._members[number] = _Member(decoding, decoding.start())
        return number

    def drop(self, number: int) -> None:
        """Forget an answer, if it is still there, without a word; to be called between steps or for a step's item."""
        self._members.pop(number, None)

    def step(self) -> Iterator[tuple[int, Progress | Exception]]:
        """One step of everybody; to be read to its end. The last item of a number is Finished or what it failed with.

        A failure is that of one answer alone; the caches of its session are then in no known state.
        """
        reading = next((number for number, member in self._members.items() if member.prefill is not None), None)
        for number, member in list(self._members.items()):
            if number != reading and member.decoding.cancelled():  # who reads is asked before the chunk
                member.decoding.reason = "cancelled"
                yield self._end(number)
        decoding = {number: member.decoding for number, member in self._members.items() if member.prefill is None}
        if reading is not None:
            yield from self._read_on(reading)
        outcomes = self.rounds.play(list(decoding.values())) if decoding else []
        for number, outcome in zip(decoding, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.drop(number)
            yield number, outcome
            if decoding[number].reason is not None and number in self._members:
                yield self._end(number)

    def _read_on(self, number: int) -> Iterator[tuple[int, Progress | Exception]]:
        """One chunk of the prompt; with the last one the first token."""
        member = self._members[number]
        try:
            for progress in member.prefill or ():
                yield number, progress
                if isinstance(progress, PrefillProgress) and progress.cached < progress.done < progress.total:
                    return
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for this answer
            self.drop(number)
            yield number, error
            return
        member.prefill = None
        if member.decoding.reason is not None and number in self._members:
            yield self._end(number)

    def _end(self, number: int) -> tuple[int, Progress | Exception]:
        decoding = self._members.pop(number).decoding
        try:
            if decoding.decided:
                decoding.session.remember()
            return number, decoding.finish()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for this answer
            return number, error
