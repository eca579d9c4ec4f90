"""The loop on the caches of a real (tiny, random) DeepSeek-V4 with its draft: reuse and speculation change nothing."""

from __future__ import annotations

import random

import pytest

from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Scheduler, Static, Threshold
from dspark_local.engine.session import Session
from dspark_local.engine.task import Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from dspark_models import Drafter, Target, load_drafter, load_target
from tests.models.checkpoints import random_checkpoint
from tests.models.configs import FLASH

TURNS = 5
TOKENS = 12


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Drafter]:
    folder = random_checkpoint(FLASH, 5, draft="dspark").write(tmp_path_factory.mktemp("tiny"))
    target = load_target(folder, dtype="float32", device="cpu", context_length=512)
    drafter = load_drafter(folder, target)
    assert drafter is not None
    return target, drafter


def answer(session: Session, prompt: list[int], scheduler: Scheduler) -> Finished:
    task = Task(prompt, SamplingSettings(temperature=0.0, max_tokens=TOKENS), scheduler, prefill_chunk=40)
    *_, done = generate(session, task)
    assert isinstance(done, Finished)
    return done


def test_edited_conversations_on_reused_caches_say_what_fresh_ones_say(pair: tuple[Target, Drafter]) -> None:
    rng = random.Random(3)
    target, drafter = pair
    session, fresh = Session(target, drafter), Session(target, None)
    history = [rng.randrange(512) for _ in range(90)]
    reused = 0
    for turn in range(TURNS):
        done = answer(session, history, Static(5) if turn % 2 else Threshold(0.6))
        fresh.clear()
        assert done.token_ids == answer(fresh, history, Static(0)).token_ids
        reused += done.stats.cached_tokens
        # Back by a few tokens, by more than can be undone, or not at all; then on.
        kept = len(history) + len(done.token_ids) - (0, 7, 45)[turn % 3]
        history = [*history, *done.token_ids][:kept] + [rng.randrange(512) for _ in range(3)]
    assert reused > 100
    session.close()
    fresh.close()
