"""Several answers in shared passes, with everything on: schedules by cost, gates, probes, lookup, drafts.

The clock is random, so that costs are noise, gates open and close, and probes run all the time: whatever is decided,
the output must not show it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dspark_local.engine.decoding import Decoding
from dspark_local.engine.generate import generate_together
from dspark_local.engine.scheduling import Off, Scheduler, Slot, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Step, Task
from dspark_local.events import Finished, RoundDone
from dspark_local.request import SamplingSettings
from dspark_models.protocols import DraftBlock
from tests.fakes import FakeDrafter, FakeTarget, fake_pair, random_table
from tests.local.engine.adaptive_rules import adaptive
from tests.local.engine.markov import PROMPT, assert_faithful, markov_pair

GREEDY = SamplingSettings(temperature=0.0, max_tokens=300)


def random_clock(seed: int) -> Callable[[], float]:
    """Seconds that pass at random, now and then a lot of them."""
    rng = random.Random(seed)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += rng.expovariate(1.0) * (10.0 if rng.random() < 0.05 else 1.0)
        return now

    return clock


def costs() -> StepCosts:
    return StepCosts({1: 1.0, 2: 1.2, 4: 1.3, 25: 2.0}, {1: 0.2})


def run_together(
    pair: tuple[FakeTarget, FakeDrafter], tasks: Sequence[Task], *, ahead: bool = False, seed: int = 0
) -> list[tuple[list[int], list[int], list[RoundDone]]]:
    """Of every answer the ids decided in rounds, the place of each in its round, and the rounds."""
    target, drafter = pair
    answers = [(Session(target, drafter), task) for task in tasks]
    out: list[tuple[list[int], list[int], list[RoundDone]]] = [([], [], []) for _ in tasks]
    ended = set()
    events = generate_together(answers, costs=costs(), clock=random_clock(seed), ahead=ahead)
    for number, event in events:
        assert number not in ended
        if isinstance(event, Step):
            tokens, places, rounds = out[number]
            tokens += event.token_ids
            places += range(len(event.token_ids))
            rounds += [event.round] if event.round else []
        elif isinstance(event, Finished):
            ended.add(number)
    assert ended == set(range(len(tasks)))
    return out


def looping_pair(sequences: int) -> tuple[FakeTarget, FakeDrafter]:
    """A target whose greedy output falls into long loops, so that lookup finds much, and a drafter often right."""
    target = FakeTarget(
        random_table(13, 11, 3), lambda state, token: (state * 5 + token * 3 + 1) % 997, max_sequences=sequences
    )
    return target, FakeDrafter(target, random_table(13, 11, 4), skill=60)


PROMPTS = ((1, 2, 3, 4), (5, 6, 7), (1, 2, 3, 1, 2, 3, 1, 2), (9, 9, 9))
MIXES: list[list[Callable[[], Scheduler]]] = [
    [adaptive] * 4,
    [lambda: adaptive(ahead=True)] * 4,
    [adaptive, Off, lambda: Static(3), lambda: Threshold(0.5)],
]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("mix", range(len(MIXES)))
def test_greedy_answers_in_shared_passes_are_those_of_plain_decoding(mix: int, ahead: bool) -> None:
    tasks = [Task(prompt, GREEDY, make()) for prompt, make in zip(PROMPTS, MIXES[mix], strict=True)]
    together = run_together(looping_pair(4), tasks, ahead=ahead, seed=mix)
    for task, (ids, _, _) in zip(tasks, together, strict=True):
        [(plain, _, _)] = run_together(looping_pair(1), [replace(task, scheduler=Off())])
        assert ids == plain


def test_all_sources_and_states_occur_in_these_runs() -> None:
    tasks = [Task(prompt, GREEDY, adaptive()) for prompt in PROMPTS]
    looping = [done for seed in range(4) for _, _, rs in run_together(looping_pair(4), tasks, seed=seed) for done in rs]
    hopeless = Task(PROMPTS[0], replace(GREEDY, max_tokens=600), adaptive())
    [(_, _, losing)] = run_together(fake_pair(skill=0), [hopeless])
    assert {done.source for done in looping} == {"none", "draft", "lookup"}
    assert max(done.verified for done in looping) > 5
    assert {done.speculation.phase for done in losing} == {"on", "paused"}
    assert losing[-1].speculation.gain is not None
    # Confidences that promise too much are found out by the clock, and drafts then stay rare.
    assert sum(done.source == "draft" for done in losing[-300:]) < 15


def test_answers_that_end_leave_the_others_running() -> None:
    tasks = [Task(PROMPTS[0], replace(GREEDY, max_tokens=n), adaptive()) for n in (1, 7, 60)]
    assert [len(ids) for ids, _, _ in run_together(looping_pair(3), tasks)] == [1, 7, 60]


def test_one_answer_can_be_cancelled_while_the_others_go_on() -> None:
    target, drafter = looping_pair(2)
    answers = [(Session(target, drafter), Task(prompt, GREEDY, adaptive())) for prompt in PROMPTS[:2]]
    said = [0, 0]
    reasons = {}
    for number, event in generate_together(answers, lambda n: n == 0 and said[0] > 20, costs=costs()):
        if isinstance(event, Step):
            said[number] += len(event.token_ids)
        elif isinstance(event, Finished):
            reasons[number] = event.reason
    assert reasons == {0: "cancelled", 1: "length"}
    assert said[0] < 60
    assert said[1] == 300


def test_shared_passes_are_fewer_than_those_of_the_answers_alone() -> None:
    tasks = [Task(prompt, GREEDY, Static(2)) for prompt in PROMPTS]
    pair = looping_pair(4)
    run_together(pair, tasks)
    together = pair[0].passes
    alone = 0
    for task in tasks:
        pair = looping_pair(1)
        run_together(pair, [task])
        alone += pair[0].passes
    assert together < 0.5 * alone


SAMPLED = [
    SamplingSettings(temperature=0.6, seed=1),
    SamplingSettings(temperature=1.0, seed=2),
    SamplingSettings(temperature=1.0, top_p=0.95, seed=3),
]


def sampled_tasks(settings: SamplingSettings, tokens: int) -> list[Task]:
    assert settings.seed is not None
    makers: list[Callable[[], Scheduler]] = [lambda: adaptive(3), lambda: adaptive(3), lambda: adaptive(3, ahead=True)]
    return [
        Task(PROMPT, replace(settings, max_tokens=tokens, seed=settings.seed + 10 * number), make())
        for number, make in enumerate(makers)
    ]


@pytest.mark.parametrize("settings", SAMPLED)
def test_sampled_answers_in_shared_passes_follow_the_targets_distribution(settings: SamplingSettings) -> None:
    for ids, places, _ in run_together(markov_pair(sequences=3), sampled_tasks(settings, 6_000)):
        assert_faithful(ids, places, settings)


@pytest.mark.slow
@pytest.mark.parametrize("settings", SAMPLED)
def test_a_hundred_thousand_draws_of_shared_passes_follow_the_target(settings: SamplingSettings) -> None:
    for ids, places, _ in run_together(markov_pair(sequences=3), sampled_tasks(settings, 100_000)):
        assert_faithful(ids, places, settings)


class AnticipatesTogether:
    """Admits a draft only if it turned out to be token 0: what no scheduler can see, taken through a back door."""

    def __init__(self, drafts: list[list[int]]) -> None:
        self.drafts = drafts

    def choose(self, frontier: Sequence[Slot], rows: int, tokens: float) -> Slot | None:
        for slot in frontier:
            if self.drafts[slot.request][len(slot.confidences) - 1] == 0:
                return slot
        return None


def test_a_joint_schedule_that_anticipates_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: the same test rejects a division of the pass that looks at the drafts themselves."""
    drafts: list[list[int]] = []
    original = Decoding.take_block

    def noting(self: Decoding, block: DraftBlock) -> None:
        original(self, block)
        drafts.append(list(self.proposal.ids))

    def anticipating(*_: object, **__: object) -> AnticipatesTogether:
        latest = drafts[-2:]
        return AnticipatesTogether(latest)

    class AlwaysDrafts(Scheduler):
        weighs_costs = True

        def admits(self, confidences: Sequence[float]) -> bool:
            return True

    monkeypatch.setattr(Decoding, "take_block", noting)
    monkeypatch.setattr("dspark_local.engine.rounds.PrefixScheduler", anticipating)
    settings = SamplingSettings(temperature=1.0, seed=5)
    tasks = [Task(PROMPT, replace(settings, max_tokens=6_000, seed=n), AlwaysDrafts()) for n in range(2)]
    [(ids, places, _), _] = run_together(markov_pair(sequences=2), tasks)
    with pytest.raises(AssertionError):
        assert_faithful(ids, places, settings)
