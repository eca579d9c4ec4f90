"""The loop: draft a block, schedule how much of it to verify, verify in one target pass, accept, rewind, observe.

Start reading here, then batch.py (who takes part), decoding.py (one answer) and rounds.py (one round of several).

Between rounds, and whenever a generator stops for any reason, the caches hold every decided token but the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dspark_local.backend import Cancelled
from dspark_local.engine.batch import Batch
from dspark_local.engine.meter import Clock
from dspark_local.engine.rounds import Rounds
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Progress, Task, check_prompt


def generate(
    session: Session,
    task: Task,
    cancelled: Cancelled = lambda: False,
    *,
    costs: StepCosts | None = None,
    clock: Clock = time.perf_counter,
) -> Iterator[Progress]:
    """Continue task.prompt in session: PrefillProgress*, Step*, Finished.

    `cancelled` is asked before every pass. costs is kept up to date with what passes take. UsageError for an empty
    prompt or an id outside the vocabulary, ContextLengthError when the prompt leaves no room for one token; both
    before anything runs.
    """
    together = generate_together([(session, task)], lambda _: cancelled(), costs=costs, clock=clock)
    return (progress for _, progress in together)


def generate_together(
    answers: Sequence[tuple[Session, Task]],
    cancelled: Callable[[int], bool] = lambda answer: False,
    *,
    costs: StepCosts | None = None,
    clock: Clock = time.perf_counter,
    ahead: bool = False,
) -> Iterator[tuple[int, Progress]]:
    """As generate, for several sessions of one target whose rounds share passes: (number of the answer, progress).

    Prompts are read one after another, while those read before are decoded. Needs costs when a scheduler weighs them.
    What one answer fails with ends all of them.
    """
    for session, task in answers:
        check_prompt(task.prompt, session.target.vocab_size, session.target.context_length)
    return _run(answers, cancelled, Rounds(costs, clock, ahead=ahead))


def _run(
    answers: Sequence[tuple[Session, Task]], cancelled: Callable[[int], bool], rounds: Rounds
) -> Iterator[tuple[int, Progress]]:
    batch = Batch(rounds)
    for number, (session, task) in enumerate(answers):
        batch.add(session, task, partial(cancelled, number))
    while batch:
        for number, item in batch.step():
            if isinstance(item, Exception):
                raise item
            yield number, item
