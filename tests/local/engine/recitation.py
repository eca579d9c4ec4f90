"""A target that says what it is told to, on the caches of a real one: for answers that a small model cannot give."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dspark_local.engine.step_costs import StepCosts
from dspark_models.protocols import Run, RunOutput, Target


class Reciting:
    """Wraps a target: whatever it computes, the tokens after `prompt_length` are those of `script`, with certainty.

    `clock` shows the seconds that its passes would take by `costs`; drafting takes none. Taps are the wrapped target's
    own, so a draft is made from what a model that says these tokens would show it.
    """

    def __init__(self, target: Target, prompt_length: int, script: Sequence[int], costs: StepCosts) -> None:
        self._target = target
        self._costs = costs
        self._now = 0.0
        self._prompt_length = prompt_length
        self._script = list(script)

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def clock(self) -> float:
        return self._now

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        self._now += self._costs.verify_seconds(sum(len(run.token_ids) for run in runs))
        starts = [self._target.length(run.sequence) for run in runs]
        return [
            output._replace(logits=self._scripted(start + len(run.token_ids), output.logits))
            for start, run, output in zip(starts, runs, self._target.forward(runs), strict=True)
        ]

    def _scripted(self, end: int, logits: torch.Tensor) -> torch.Tensor:
        """Rows predict positions end - rows + 1 .. end."""
        scripted = torch.full_like(logits, -100.0)
        for row in range(logits.shape[0]):
            at = end - logits.shape[0] + 1 + row - self._prompt_length
            scripted[row, self._script[min(at, len(self._script) - 1)] if at >= 0 else 0] = 100.0
        return scripted
