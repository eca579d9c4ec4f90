"""What a schedule that knows the future would reach with this draft: arithmetic on rounds that were played, no run.

The rounds are those that verify the whole block, left where they are: each verifies what will be kept and no more (or
more, should that be cheaper), or, where it does not pay, its tokens are decoded plainly. No schedule that drafts these
blocks is faster, up to two things that are left out: text that is looked up instead of drafted, and blocks cut short
because the next one, drafted later, happens to be luckier.

Every round keeps its own measured seconds, scaled by what passes of both widths took on average in the same run, so a
moment in which the machine was slow does not count for one way and not for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dspark_local.bench.answers import Answer, Figures, Pass, figures_of
from dspark_local.bench.ways import PLAIN, always
from dspark_local.engine.step_costs import StepCosts


def clairvoyant_figures(answers: Mapping[str, Sequence[Answer]], block_size: int) -> Figures:
    """The bound, for one run's answers by way, which hold plain decoding and every fixed number of drafts.

    Its seconds are on the scale of plain decoding's in that run. Bytes are unknown, as nothing ran.
    """
    plain = figures_of(answers[PLAIN])
    costs = costs_of_passes(answers, block_size)
    tokens = passes = verified = accepted = 0
    seconds = 0.0
    for played in _passes(answers[always(block_size)]):
        most = max(played.verified + 1, played.tokens)
        rows = min(range(played.tokens, most + 1), key=costs.verify_seconds)
        tokens += played.tokens
        if costs.draft_seconds() + costs.verify_seconds(rows) < played.tokens * costs.verify_seconds(1):
            passes += 1
            verified += rows - 1
            accepted += played.tokens - 1
            width = costs.verify_seconds(rows) / costs.verify_seconds(played.verified + 1)
            seconds += played.draft_seconds + played.verify_seconds * width
        else:
            passes += played.tokens
            seconds += played.tokens * costs.verify_seconds(1)
    in_passes = sum(played.verify_seconds for played in _passes(answers[PLAIN]))
    if in_passes > 0.0:  # an answer takes a little beside its passes, in every way
        seconds *= plain.seconds / in_passes
    return Figures(tokens, passes, seconds, verified, accepted, None)


def costs_of_passes(answers: Mapping[str, Sequence[Answer]], block_size: int) -> StepCosts:
    """Mean seconds of passes by rows, and of a draft, as they were in these answers."""
    verify: dict[int, list[float]] = {1: [played.verify_seconds for played in _passes(answers[PLAIN])]}
    draft: list[float] = []
    for k in range(1, block_size + 1):
        for played in _passes(answers[always(k)]):
            if played.source == "draft":
                draft.append(played.draft_seconds)
                verify.setdefault(played.verified + 1, []).append(played.verify_seconds)
    means = {rows: _mean(seconds) for rows, seconds in verify.items()}
    return StepCosts(means, {1: _mean(draft)})


def _passes(answers: Iterable[Answer]) -> Iterable[Pass]:
    return (played for answer in answers for played in answer.passes)


def _mean(seconds: Sequence[float]) -> float:
    """Above 0 even where there is nothing to measure, such as in answers of one token."""
    return max(sum(seconds) / len(seconds), 1e-9) if seconds else 1e-9
