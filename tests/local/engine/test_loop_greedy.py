"""The loop with greedy choices: speculation, ends, limits, cancelling."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest

from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Off, Scheduler, Static, Threshold
from dspark_local.engine.session import Session, verify_together
from dspark_local.engine.task import Progress, Step, Task
from dspark_local.errors import ContextLengthError, UsageError
from dspark_local.events import Finished, PrefillProgress
from dspark_local.request import SamplingSettings
from tests.fakes import FakeTarget, fake_pair, whole_prefix
from tests.local.engine.adaptive_rules import adaptive

PROMPT = tuple(range(3, 30))


def greedy(max_tokens: int | None = 200, **settings: float) -> SamplingSettings:
    return SamplingSettings(temperature=0.0, max_tokens=max_tokens, **settings)  # type: ignore[arg-type]


def finished(progress: Sequence[Progress]) -> Finished:
    assert isinstance(progress[-1], Finished)
    return progress[-1]


def answer(scheduler: Scheduler, sampling: SamplingSettings | None = None, *, end_ids: Sequence[int] = ()) -> Finished:
    session = Session(*fake_pair())
    task = Task(PROMPT, sampling or greedy(), scheduler, end_ids=frozenset(end_ids))
    return finished(list(generate(session, task)))


def plain_reference(count: int) -> list[int]:
    """Greedy output computed from the table alone, without the loop."""
    target, _ = fake_pair()
    state = 1
    for token in PROMPT:
        state = whole_prefix(state, token)
    ids = []
    for _ in range(count):
        ids.append(int(target.table[state % len(target.table)].argmax()))
        state = whole_prefix(state, ids[-1])
    return ids


def test_plain_decoding_follows_the_model_one_token_a_pass() -> None:
    done = answer(Off())
    assert list(done.token_ids) == plain_reference(200)
    assert done.reason == "length"
    assert done.stats.passes == 199
    assert done.stats.accepted_length == 1.0


@pytest.mark.parametrize(
    "scheduler", [*(Static(k) for k in range(6)), Threshold(0.3), Threshold(0.7), adaptive(), adaptive(ahead=True)]
)
def test_greedy_output_with_speculation_equals_greedy_output_without(scheduler: Scheduler) -> None:
    assert list(answer(scheduler).token_ids) == plain_reference(200)


def test_a_good_draft_saves_passes_and_the_counts_add_up() -> None:
    stats = answer(Static(5)).stats
    assert stats.passes < 100
    assert stats.completion_tokens - 1 == stats.passes + stats.accepted_tokens
    assert stats.accepted_tokens == sum(stats.accepted_per_position)
    assert stats.verified_tokens == sum(stats.verified_per_position)
    assert len(stats.verified_per_position) == 5


def test_speculation_keeps_penalised_greedy_output() -> None:
    penalties = greedy(repetition_penalty=1.3, presence_penalty=0.4, frequency_penalty=0.3)
    outputs = {answer(Static(k), penalties).token_ids for k in range(6)}
    assert len(outputs) == 1
    assert list(outputs.pop()) != plain_reference(200)


@pytest.mark.parametrize("place", range(1, 20))
def test_an_end_token_inside_a_block_ends_the_answer_there(place: int) -> None:
    reference = plain_reference(200)
    end = reference[place]
    expected = reference[: reference.index(end) + 1]
    done = answer(Static(5), end_ids=[end])
    assert list(done.token_ids) == expected
    assert done.reason == "stop"


def test_ignore_eos_runs_past_the_end_token() -> None:
    reference = plain_reference(50)
    done = answer(Static(5), SamplingSettings(temperature=0.0, max_tokens=50, ignore_eos=True), end_ids=[reference[3]])
    assert list(done.token_ids) == reference


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 11])
def test_max_tokens_cuts_inside_a_block_and_runs_nothing_beyond(count: int) -> None:
    target, drafter = fake_pair()
    done = finished(list(generate(Session(target, drafter), Task(PROMPT, greedy(count), Static(5)))))
    assert list(done.token_ids) == plain_reference(count)
    assert done.reason == "length"


def test_the_context_is_filled_to_the_last_token_and_never_passed() -> None:
    target, drafter = fake_pair(context_length=len(PROMPT) + 12)
    done = finished(list(generate(Session(target, drafter), Task(PROMPT, greedy(None), Static(5)))))
    assert list(done.token_ids) == plain_reference(12)
    assert done.reason == "length"
    assert done.stats.context_used == done.stats.context_length == target.context_length


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_runs() -> None:
    target, drafter = fake_pair(context_length=len(PROMPT))
    with pytest.raises(ContextLengthError, match="27 tokens"):
        generate(Session(target, drafter), Task(PROMPT))
    assert target.passes == 0


@pytest.mark.parametrize(("prompt", "message"), [((), "empty"), ((3, 50), "Token 1 is 50"), ((-1,), "-1")])
def test_a_prompt_that_is_no_prompt_is_refused(prompt: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate(Session(*fake_pair()), Task(prompt))


def test_a_watcher_ends_the_answer_in_the_middle_of_a_block_and_sees_no_later_token() -> None:
    reference = plain_reference(200)
    seen: list[int] = []

    def watch(token: int) -> bool:
        seen.append(token)
        return len(seen) == 18

    session = Session(*fake_pair())
    done = finished(list(generate(session, Task(PROMPT, greedy(), Static(5), watch=watch))))
    assert done.reason == "stop"
    assert list(done.token_ids) == seen == reference[:18]
    assert list(session.ids) == [*PROMPT, *reference[:17]]


def test_the_prompt_is_prefilled_in_chunks_with_progress() -> None:
    target, drafter = fake_pair()
    task = Task(PROMPT, greedy(1), prefill_chunk=10)
    progress = [event for event in generate(Session(target, drafter), task) if isinstance(event, PrefillProgress)]
    assert [event.done for event in progress] == [0, 10, 20, 27]
    assert {event.total for event in progress} == {27}
    assert target.widest_pass == 10


def test_chunks_do_not_change_the_output() -> None:
    for chunk in (1, 2, 5, 26, 27, 28):
        task = Task(PROMPT, greedy(40), Static(3), prefill_chunk=chunk)
        assert list(finished(list(generate(Session(*fake_pair()), task))).token_ids) == plain_reference(40)


def cancel_after(asked: int) -> Callable[[], bool]:
    counter = itertools.count()
    return lambda: next(counter) >= asked


@pytest.mark.parametrize("asked", range(12))
def test_cancelling_at_any_pass_keeps_what_was_said_and_the_session_goes_on(asked: int) -> None:
    target, drafter = fake_pair()
    session = Session(target, drafter)
    task = Task(PROMPT, greedy(), Static(5), prefill_chunk=10)
    done = finished(list(generate(session, task, cancel_after(asked))))
    assert done.reason == "cancelled"
    said = list(done.token_ids)
    reference = plain_reference(200)
    assert said == reference[: len(said)]
    rest = Task([*PROMPT, *said], greedy(200 - len(said)), Static(5), prefill_chunk=10)
    again = finished(list(generate(session, rest)))
    assert said + list(again.token_ids) == reference
    assert again.stats.cached_tokens >= min(asked * 10, 26)


def test_cancelling_takes_effect_within_one_pass() -> None:
    target, drafter = fake_pair()
    stop: list[bool] = []
    steps = 0
    for event in generate(Session(target, drafter), Task(PROMPT, greedy(), Static(2)), lambda: bool(stop)):
        if isinstance(event, Step):
            steps += 1
            if steps == 4:
                stop.append(True)
    assert steps == 4


def test_a_consumer_that_walks_away_leaves_a_usable_session() -> None:
    session = Session(*fake_pair())
    reference = plain_reference(60)
    running = generate(session, Task(PROMPT, greedy(60), Static(5)))
    said: list[int] = []
    while len(said) < 10:
        event = next(running)
        said += event.token_ids if isinstance(event, Step) else ()
    running.close()  # type: ignore[attr-defined]
    done = finished(list(generate(session, Task(PROMPT, greedy(60), Static(5)))))
    assert list(done.token_ids) == reference


def test_a_failure_between_verify_and_accept_leaves_a_usable_session() -> None:
    session = Session(*fake_pair())

    def explode(token: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(generate(session, Task(PROMPT, greedy(60), Static(5), watch=explode)))
    verify_together([(session, [1, 2])])
    done = finished(list(generate(session, Task(PROMPT, greedy(60), Static(5)))))
    assert list(done.token_ids) == plain_reference(60)


def test_rounds_report_what_was_drafted_verified_and_kept() -> None:
    session = Session(*fake_pair())
    events = list(generate(session, Task(PROMPT, greedy(80), Threshold(0.5))))
    steps = [event for event in events if isinstance(event, Step)]
    position = len(PROMPT)
    anchor = steps[0].token_ids[-1]
    for step in steps[1:]:
        assert step.round is not None
        assert (step.round.position, step.round.anchor) == (position, anchor)
        assert step.round.accepted <= step.round.verified <= len(step.round.draft_ids)
        assert len(step.token_ids) == step.round.accepted + 1
        assert step.token_ids[:-1] == step.round.draft_ids[: step.round.accepted]
        position, anchor = position + len(step.token_ids), step.token_ids[-1]
    assert position + 1 == len(PROMPT) + 80


def test_a_target_that_can_undo_little_is_given_short_blocks() -> None:
    target, drafter = fake_pair(rewind_span=2)
    done = finished(list(generate(Session(target, drafter), Task(PROMPT, greedy(60), Static(5)))))
    assert list(done.token_ids) == plain_reference(60)
    assert isinstance(target, FakeTarget)
    assert max(3, len(done.stats.verified_per_position)) == 3
