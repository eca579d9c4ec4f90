"""Answers that come and go between steps: what each says, how long it waits, and what a failure costs the others."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import pytest

from dspark_local.engine.batch import Batch
from dspark_local.engine.decoding import Decoding
from dspark_local.engine.generate import generate
from dspark_local.engine.rounds import Rounds
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Progress, Step, Task
from dspark_local.events import Finished, PrefillProgress
from dspark_local.request import SamplingSettings
from dspark_models.protocols import Run, RunOutput
from tests.fakes import FakeDrafter, FakeTarget, random_table
from tests.local.engine.adaptive_rules import adaptive

SLOTS = 4
SCHEDULERS: tuple[Callable[[], Scheduler], ...] = (Off, lambda: Static(3), lambda: Threshold(0.5), adaptive)


def pair(target_class: type[FakeTarget] = FakeTarget) -> tuple[FakeTarget, FakeDrafter]:
    target = target_class(random_table(997, 50, 1), max_sequences=SLOTS)
    return target, FakeDrafter(target, random_table(991, 50, 2))


def new_batch() -> Batch:
    return Batch(Rounds(StepCosts({1: 1.0, 4: 1.3, 25: 2.0}, {1: 0.2}), time.perf_counter))


def task(prompt: Sequence[int], tokens: int, scheduler: Scheduler | None = None, **settings: int) -> Task:
    return Task(prompt, SamplingSettings(temperature=0.0, max_tokens=tokens), scheduler or Off(), **settings)


def alone(prompt: Sequence[int], tokens: int) -> tuple[int, ...]:
    *_, done = generate(Session(*pair()), task(prompt, tokens))
    assert isinstance(done, Finished)
    return done.token_ids


def drain(batch: Batch) -> dict[int, Progress | Exception]:
    """The last item of every answer."""
    last: dict[int, Progress | Exception] = {}
    while batch:
        last.update(batch.step())
    return last


def test_answers_that_join_leave_and_are_cancelled_at_any_time_say_what_they_say_alone() -> None:
    rng = random.Random(7)
    target, drafter = pair()
    batch = new_batch()
    waiting = [
        ([rng.randrange(50) for _ in range(rng.randrange(1, 60))], rng.randrange(1, 80), rng.random() < 0.2)
        for _ in range(24)
    ]
    expected = {}
    patience: dict[int, int] = {}
    sessions: dict[int, Session] = {}
    said: dict[int, list[int]] = {}
    finished = 0
    while waiting or batch:
        while waiting and len(batch) < SLOTS and rng.random() < 0.7:
            prompt, tokens, impatient = waiting.pop()
            session = Session(target, drafter)
            ahead = len(sessions)
            patience[ahead] = rng.randrange(1, 12) if impatient else 10_000
            number = batch.add(
                session,
                task(prompt, tokens, SCHEDULERS[ahead % 4](), prefill_chunk=7),
                lambda key=ahead: len(said.get(key, ())) >= patience[key],  # type: ignore[misc]
            )
            assert number == ahead
            sessions[number] = session
            expected[number] = alone(prompt, tokens)
        for number, item in batch.step():
            assert not isinstance(item, Exception)
            if isinstance(item, Step):
                said.setdefault(number, []).extend(item.token_ids)
            if isinstance(item, Finished):
                finished += 1
                sessions[number].close()
                assert item.token_ids == tuple(said[number])
                whole = item.reason != "cancelled"
                assert item.token_ids == (expected[number] if whole else expected[number][: len(said[number])])
                assert whole or patience[number] < 10_000
    assert finished == 24
    assert target._caches == {}
    assert drafter._caches == {}


def test_a_long_prompt_holds_the_others_up_by_one_chunk_a_step() -> None:
    target, drafter = pair()
    batch = new_batch()
    batch.add(Session(target, drafter), task([1, 2, 3], 60, Static(2)), lambda: False)
    list(batch.step())
    batch.add(Session(target, drafter), task([4] * 200, 5, prefill_chunk=10), lambda: False)
    batch.add(Session(target, drafter), task([5] * 200, 5, prefill_chunk=10), lambda: False)
    for _ in range(10):
        before = target.tokens_run
        items = list(batch.step())
        assert [number for number, item in items if isinstance(item, Step)] == [0]
        assert {number for number, item in items if isinstance(item, PrefillProgress)} == {1}
        assert target.tokens_run - before <= 10 + 3
    drain(batch)


def test_every_answer_that_decodes_advances_in_every_step() -> None:
    target, drafter = pair()
    batch = new_batch()
    for first in range(SLOTS):
        batch.add(Session(target, drafter), task([first, 2], 40, SCHEDULERS[first]()), lambda: False)
    for _ in range(SLOTS):
        list(batch.step())
    while len(batch) == SLOTS:
        before = target.passes
        advanced = {number for number, item in batch.step() if isinstance(item, Step)}
        assert advanced == set(range(SLOTS))
        assert target.passes == before + 1
    drain(batch)


@pytest.mark.parametrize("waits_behind", [False, True])
def test_who_is_cancelled_leaves_within_a_step_reading_waiting_or_decoding(waits_behind: bool) -> None:
    target, drafter = pair()
    batch = new_batch()
    if waits_behind:
        batch.add(Session(target, drafter), task([3] * 500, 5, prefill_chunk=10), lambda: False)
    asked: list[bool] = []
    number = batch.add(Session(target, drafter), task([4] * 500, 5, prefill_chunk=10), lambda: bool(asked))
    list(batch.step())
    asked.append(True)
    before = target.tokens_run
    reasons = {n: item.reason for n, item in batch.step() if isinstance(item, Finished)}
    assert reasons == {number: "cancelled"}
    assert target.tokens_run - before == (10 if waits_behind else 0)


class BugError(RuntimeError):
    """What a bug would raise."""


class FaultyTarget(FakeTarget):
    """Fails every pass with a run of one sequence that asks for certain logits."""

    faulty: tuple[int, str] | None = None

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        if any((run.sequence, run.logits) == self.faulty for run in runs):
            raise BugError
        return super().forward(runs)


@pytest.mark.parametrize("place", ["prefill", "verify", "watch", "take_block", "conclude", "report", "finish"])
def test_a_failure_in_one_answer_is_its_own(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, drafter = pair(FaultyTarget)
    assert isinstance(target, FaultyTarget)
    batch = new_batch()
    prompts = [[1, 2, 3], [7, 8], [5, 6]]
    sessions = [Session(target, drafter) for _ in prompts]
    watched: list[int] = []

    def watch_badly(token: int) -> bool:
        watched.append(token)
        if place == "watch" and len(watched) == 9:
            raise BugError
        return False

    for number, (session, prompt) in enumerate(zip(sessions, prompts, strict=True)):
        watch = watch_badly if number == 1 else lambda token: False
        made = Task(prompt, SamplingSettings(temperature=0.0, max_tokens=30), Static(3), watch=watch)
        assert batch.add(session, made, lambda: False) == number
    if place in ("prefill", "verify"):
        target.faulty = (sessions[1]._target_sequence, {"prefill": "last", "verify": "all"}[place])
    elif place != "watch":
        original = getattr(Decoding, place)

        def failing(self: Decoding, *arguments: object) -> object:
            if self.session is sessions[1] and len(self.decided) > 8:
                raise BugError
            return original(self, *arguments)

        monkeypatch.setattr(Decoding, place, failing)
    last = drain(batch)
    assert isinstance(last[1], BugError)
    for number in (0, 2):
        done = last[number]
        assert isinstance(done, Finished)
        assert done.token_ids == alone(prompts[number], 30)


class SmallTarget(FakeTarget):
    """Has memory for passes of two sequences at most."""

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        if len(runs) > 2:
            raise MemoryError
        return super().forward(runs)


def test_a_pass_that_only_fails_for_all_together_is_run_for_each_alone() -> None:
    target, drafter = pair(SmallTarget)
    batch = new_batch()
    for first in range(4):
        batch.add(Session(target, drafter), task([first, 9], 20, Static(3)), lambda: False)
    last = drain(batch)
    assert [item.token_ids for item in last.values() if isinstance(item, Finished)] == [
        alone([first, 9], 20) for first in range(4)
    ]
