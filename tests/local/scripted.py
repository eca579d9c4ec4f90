"""A native backend whose model recites: for tests of everything between tokens and the terminal.

After `</think>` or a question mark it says the answer, after `<think>` the reasoning and then the answer, then it ends.
It runs on the fakes, so blocks are drafted, verified and accepted as with a real model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dspark_local.backend import ModelInfo
from dspark_local.native import NativeBackend
from dspark_local.protocols.special_tokens import THINK_CLOSE, THINK_OPEN
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_models.protocols import Run, RunOutput
from tests.fakes import FakeDrafter, FakeTarget
from tests.models.checkpoints import write_tokenizer

VOCABULARY = 264
LOST = 1  # the state before anything was asked


class SlowTarget(FakeTarget):
    """Takes its time for every pass."""

    seconds_per_pass = 0.0

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        time.sleep(self.seconds_per_pass)
        return super().forward(runs)


def scripted_backend(
    folder: Path,
    answer: str = "Twelve times seven is 84.",
    reasoning: str = "Let me see.",
    *,
    with_draft: bool = True,
    context_length: int = 512,
    seconds_per_pass: float = 0.0,
    endless: bool = False,
    slots: int = 2,
) -> NativeBackend:
    """The backend; folder receives its tokenizer. An endless one recites the answer again and again."""
    write_tokenizer(folder)
    tokenizer = ChatTokenizer.load(folder)
    close, question = tokenizer.token_id(THINK_CLOSE), tokenizer.encode_text("?")[0]
    opened = tokenizer.token_id(THINK_OPEN)
    end = [] if endless else [tokenizer.eos_ids[0]]
    spoken = tokenizer.encode_text(answer, parse_markup=True) + end
    thought = [*tokenizer.encode_text(reasoning), close]
    # Row 0 and 1: silence. Then the answer, then the reasoning, each token a state.
    script = [end[0] if end else 0, end[0] if end else 0, *spoken, *thought]
    table = torch.zeros(len(script), VOCABULARY)
    table[torch.arange(len(script)), torch.tensor(script)] = 50.0
    after_answer = 2 + len(spoken)

    def advance(state: int, token: int) -> int:
        if token == opened:
            return after_answer
        if token in (close, question):
            return 2
        if state < 2:
            return LOST
        return 2 if endless and state + 1 == after_answer else (state + 1) % len(script)

    target = SlowTarget(table, advance, rewind_span=16, context_length=context_length, max_sequences=slots)
    target.seconds_per_pass = seconds_per_pass
    drafter = FakeDrafter(target, torch.zeros(1, VOCABULARY), skill=100) if with_draft else None
    info = ModelInfo(
        id="scripted",
        context_length=context_length,
        draft_block_size=drafter.block_size if drafter else 0,
        numerics="a table",
        recommended_temperature=0.0,
        extra={} if drafter else {"speculation": "off: no draft"},
    )
    return NativeBackend(target, drafter, tokenizer, info, max_sequences=slots)
