"""From prepared tasks to events: each answer gets a session and what its speculation needs, and gives both back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from dspark_local.backend import Cancelled
from dspark_local.engine.answer_text import AnswerText
from dspark_local.engine.batch import Batch
from dspark_local.engine.rounds import Rounds, attempt
from dspark_local.engine.session import Session
from dspark_local.engine.session_pool import SessionPool
from dspark_local.engine.speculation import Speculation
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Progress, Step, Task
from dspark_local.events import Event, Finished, FinishReason
from dspark_local.request import ChatRequest, TokenRequest


class Seat(NamedTuple):
    """A task with its scheduler, the session that runs it, and what passes cost, None where nobody asks."""

    session: Session
    task: Task
    costs: StepCosts | None


class _UnderWay(NamedTuple):
    session: Session
    answer: AnswerText


class Answers:
    """Answers of one model, at most as many at once as the pool has sessions."""

    def __init__(self, pool: SessionPool, speculation: Speculation) -> None:
        self._pool = pool
        self._speculation = speculation
        self._batch = Batch(Rounds(None, time.perf_counter))
        self._under_way: dict[int, _UnderWay] = {}

    @contextmanager
    def seat(self, task: Task, request: ChatRequest | TokenRequest, *, landmark: int = 0) -> Iterator[Seat]:
        """A seat for an answer that runs alone. landmark is where other prompts are likely to part from this one."""
        seat = self._take(task, request, landmark)
        is_sound = False
        try:
            yield seat
            is_sound = True
        except GeneratorExit:  # whoever listened has left, between two passes
            is_sound = True
            raise
        finally:
            self._pool.give_back(seat.session, is_sound=is_sound)

    def begin(
        self,
        task: Task,
        answer: AnswerText,
        request: ChatRequest | TokenRequest,
        cancelled: Cancelled,
        *,
        landmark: int = 0,
    ) -> int:
        """Let an answer join those under way. RuntimeError when there is no session left for it."""
        seat = self._take(task, request, landmark)
        if seat.costs is not None:
            self._batch.rounds.costs = seat.costs
        number = self._batch.add(seat.session, seat.task, cancelled)
        self._under_way[number] = _UnderWay(seat.session, answer)
        return number

    def step(self) -> Iterator[tuple[int, Event | Exception]]:
        """One step of all answers under way; see Batch.step. An exception from here ended all of them."""
        try:
            for number, progress in self._batch.step():
                yield from self._told(number, progress)
        except Exception:
            for number, (session, _) in self._under_way.items():
                self._batch.drop(number)
                self._pool.give_back(session, is_sound=False)
            self._under_way.clear()
            raise

    def _told(self, number: int, progress: Progress | Exception) -> Iterator[tuple[int, Event | Exception]]:
        if number not in self._under_way:  # its text could not be made earlier in this step
            return
        session, answer = self._under_way[number]
        told = progress if isinstance(progress, Exception) else attempt(partial(events_of, progress, answer))
        failed = isinstance(told, Exception)
        if failed or isinstance(progress, Finished):
            del self._under_way[number]
            self._batch.drop(number)
            self._pool.give_back(session, is_sound=not failed)
        if isinstance(told, Exception):
            yield number, told
        else:
            yield from ((number, event) for event in told)

    def _take(self, task: Task, request: ChatRequest | TokenRequest, landmark: int) -> Seat:
        settings = request.speculation
        costs = None
        if settings.mode in ("auto", "ahead"):
            costs = self._speculation.costs(lambda: self._pool.scratch(drafting=True))
        session = self._pool.take(task.prompt, conversation_id=request.conversation_id, drafting=settings.mode != "off")
        session.landmark = landmark
        equipment = self._speculation.equip(session, settings, task.sampling.temperature, costs)
        task = replace(task, scheduler=equipment.scheduler, calibration=equipment.calibration)
        if task.sampling.seed is None or task.sampling.is_greedy:  # a seed keeps drafts by another rule
            task = replace(task, learn=equipment.learn)
        return Seat(session, task, costs)


def events_of(progress: Progress, answer: AnswerText) -> list[Event]:
    """What a reader is told of one piece of progress."""
    if isinstance(progress, Step):
        return [*answer.take(), *([progress.round] if progress.round is not None else [])]
    if isinstance(progress, Finished):
        return [*answer.finish(truncated=progress.reason != "stop"), _finished(progress, answer)]
    return [progress]


def _finished(done: Finished, answer: AnswerText) -> Finished:
    reason: FinishReason = "tool_calls" if done.reason == "stop" and answer.has_tool_calls else done.reason
    return replace(
        done,
        reason=reason,
        stats=replace(done.stats, reasoning_tokens=answer.reasoning_tokens),
        stop_string=answer.stop_string if done.reason == "stop" else None,
    )
