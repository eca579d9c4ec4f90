"""Quoting and editing an attached file: passes with prompt lookup against passes with the draft alone.

The demo knows no such task, so its target recites: the answer is given, the draft is the demo's own and sees the hidden
states of the demo reading that answer. The file is text of the demo's world, where its draft is at its best.
"""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from dspark_local.demo import weights_path
from dspark_local.demo.heldout import held_out_turns
from dspark_local.engine.adaptive import Adaptive
from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Scheduler, Static
from dspark_local.engine.session import Session
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Task
from dspark_local.events import Finished
from dspark_local.request import SamplingSettings
from dspark_models import Drafter, Target, load_drafter, load_target
from tests.local.engine.recitation import Reciting

LEAST_RATIO = 1.5
COSTS = StepCosts({rows: 1.0 + 0.1 * (rows - 1) for rows in range(1, 26)}, {1: 0.05})


@pytest.fixture(scope="module")
def pair() -> tuple[Target, Drafter]:
    target = load_target(weights_path(), dtype="float32", device="cpu")
    drafter = load_drafter(weights_path(), target)
    assert drafter is not None
    return target, drafter


def functions(*, edited: bool) -> list[int]:
    """Eight short Python functions, about 200 tokens; edited, every one has another name."""
    tokenizer = Tokenizer.from_file(str(weights_path() / "tokenizer.json"))
    answers = [turn.answer for turn in held_out_turns("code", 8)]
    text = "\n\n".join(answer.replace("(", "_v2(", 1) if edited else answer for answer in answers)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def passes(pair: tuple[Target, Drafter], prompt: list[int], script: list[int], scheduler: Scheduler) -> int:
    target, drafter = pair
    reciting = Reciting(target, len(prompt), script, COSTS)
    session = Session(reciting, drafter)  # type: ignore[arg-type]
    sampling = SamplingSettings(temperature=0.0, max_tokens=len(script))
    *_, done = generate(session, Task(prompt, sampling, scheduler), clock=reciting.clock)
    session.close()
    assert isinstance(done, Finished)
    assert list(done.token_ids) == script
    return done.stats.passes


@pytest.mark.parametrize("edited", [False, True])
def test_lookup_quotes_and_edits_a_file_in_far_fewer_passes_than_the_draft_alone(
    pair: tuple[Target, Drafter], edited: bool
) -> None:
    prompt, script = functions(edited=False), functions(edited=edited)
    alone = passes(pair, prompt, script, Static(5))
    assert alone > LEAST_RATIO * passes(pair, prompt, script, Adaptive(COSTS, 5))
