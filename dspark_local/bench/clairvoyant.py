"""What a schedule that knows the future would reach with this draft: arithmetic on rounds that were played, no run.

The rounds are those that verify the whole block, left where they are: each verifies what will be kept and no more (or
more, should that be cheaper), or, where it does not pay, its tokens are decoded plainly. No schedule that drafts these
blocks is faster, up to what is left out: text that is looked up instead of drafted, blocks drafted longer than the
draft's own size, and blocks cut short because the next one, drafted later, happens to be luckier.

Every round keeps its own measured seconds, scaled by what passes of both widths took on average in the same run, so a
moment in which the machine was slow does not count for one way and not for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dspark_local.bench.answers import Answer, Figures, Pass, figures_of
from dspark_local.bench.ways import PLAIN, always
from dspark_local.engine.step_costs import Curve


def clairvoyant_figures(answers: Mapping[str, Sequence[Answer]], block_size: int) -> Figures:
    """The bound, for one run's answers by way, which hold plain decoding and every fixed number of drafts.

    Its seconds are on the scale of plain decoding's in that run. Bytes are unknown, as nothing ran.
    """
    plain = figures_of(answers[PLAIN])
    verify, draft_seconds = costs_of_passes(answers, block_size)
    tokens = passes = verified = accepted = 0
    seconds = 0.0
    for played in _passes(answers[always(block_size)]):
        most = max(played.verified + 1, played.tokens)
        rows = min(range(played.tokens, most + 1), key=verify.seconds)
        tokens += played.tokens
        if draft_seconds + verify.seconds(rows) < played.tokens * verify.seconds(1):
            passes += 1
            verified += rows - 1
            accepted += played.tokens - 1
            width = verify.seconds(rows) / verify.seconds(played.verified + 1)
            seconds += played.draft_seconds + played.verify_seconds * width
        else:
            passes += played.tokens
            seconds += played.tokens * verify.seconds(1)
    in_passes = sum(played.verify_seconds for played in _passes(answers[PLAIN]))
    if in_passes > 0.0:  # an answer takes a little beside its passes, in every way
        seconds *= plain.seconds / in_passes
    return Figures(tokens, passes, seconds, verified, accepted, None)


def costs_of_passes(answers: Mapping[str, Sequence[Answer]], block_size: int) -> tuple[Curve, float]:
    """(mean seconds of passes by rows, mean seconds of drafting a block), as they were in these answers."""
    rows_seconds: dict[int, list[float]] = {1: [played.verify_seconds for played in _passes(answers[PLAIN])]}
    draft: list[float] = []
    for k in range(1, block_size + 1):
        for played in _passes(answers[always(k)]):
            if played.source == "draft":
                draft.append(played.draft_seconds)
                rows_seconds.setdefault(played.verified + 1, []).append(played.verify_seconds)
    return Curve({rows: _mean(seconds) for rows, seconds in rows_seconds.items()}), _mean(draft)


def _passes(answers: Iterable[Answer]) -> Iterable[Pass]:
    return (played for answer in answers for played in answer.passes)


def _mean(seconds: Sequence[float]) -> float:
    """Above 0 even where there is nothing to measure, such as in answers of one token."""
    return max(sum(seconds) / len(seconds), 1e-9) if seconds else 1e-9
