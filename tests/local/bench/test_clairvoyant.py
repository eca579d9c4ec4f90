"""The bound, on rounds written by hand."""

from __future__ import annotations

import pytest

from dspark_local.bench.answers import Answer, Pass
from dspark_local.bench.clairvoyant import clairvoyant_figures


def answer(*passes: Pass) -> Answer:
    tokens = sum(played.tokens for played in passes)
    seconds = sum(played.draft_seconds + played.verify_seconds for played in passes)
    accepted = sum(played.tokens - 1 for played in passes)
    return Answer((0,) * (tokens + 1), passes, sum(p.verified for p in passes), accepted, seconds, None)


def drafted(verified: int, tokens: int, verify_seconds: float) -> Pass:
    return Pass("draft", verified, tokens, 1.0, verify_seconds)


PLAIN = answer(*[Pass("none", 0, 1, 0.0, 4.0)] * 6)


def test_rounds_verify_just_what_is_kept_or_decode_plainly() -> None:
    # A pass of 1, 2, 3 rows takes 4, 5, 6 seconds, a draft 1.
    one = answer(drafted(1, 2, 5.0), drafted(1, 2, 5.0), drafted(1, 2, 5.0))
    two = answer(drafted(2, 3, 6.0), drafted(2, 2, 6.0), drafted(2, 1, 6.0))
    figures = clairvoyant_figures({"plain": [PLAIN], "always 1": [one], "always 2": [two]}, 2)
    assert figures.tokens == 6
    assert figures.seconds == pytest.approx((1 + 6) + (1 + 5) + 4)
    assert (figures.passes, figures.verified, figures.accepted) == (3, 3, 3)


def test_where_rows_are_dear_the_bound_is_plain_decoding() -> None:
    one = answer(drafted(1, 2, 40.0), drafted(1, 2, 40.0), drafted(1, 2, 40.0))
    figures = clairvoyant_figures({"plain": [PLAIN], "always 1": [one]}, 1)
    assert figures.seconds == PLAIN.seconds
    assert (figures.passes, figures.verified) == (6, 0)


def test_the_draft_itself_counts_when_the_bound_chooses() -> None:
    one = answer(drafted(1, 2, 7.5), drafted(1, 2, 7.5), drafted(1, 2, 7.5))  # 7.5 alone would beat two plain passes
    figures = clairvoyant_figures({"plain": [PLAIN], "always 1": [one]}, 1)
    assert figures.seconds == PLAIN.seconds


def test_a_wider_pass_is_taken_where_it_is_cheaper() -> None:
    one = answer(drafted(1, 2, 6.0), drafted(1, 1, 6.0))
    two = answer(drafted(2, 2, 5.0), drafted(2, 2, 5.0), drafted(2, 2, 5.0))
    figures = clairvoyant_figures({"plain": [PLAIN], "always 1": [one], "always 2": [two]}, 2)
    assert figures.seconds == pytest.approx(3 * (1 + 5))
    assert (figures.verified, figures.accepted) == (6, 3)


def test_a_round_that_was_slow_stays_slow() -> None:
    one = answer(drafted(1, 2, 5.0), drafted(1, 2, 5.0), drafted(1, 2, 5.0))
    two = answer(drafted(2, 3, 12.0), drafted(2, 3, 4.0))  # 8 on average
    figures = clairvoyant_figures({"plain": [PLAIN], "always 1": [one], "always 2": [two]}, 2)
    assert figures.seconds == pytest.approx((1 + 12) + (1 + 4))


def test_what_an_answer_takes_beside_its_passes_is_counted() -> None:
    plain = Answer(PLAIN.token_ids, PLAIN.passes, 0, 0, 1.5 * PLAIN.seconds, None)
    one = answer(drafted(1, 2, 40.0))
    figures = clairvoyant_figures({"plain": [plain], "always 1": [one]}, 1)
    assert figures.seconds == pytest.approx(1.5 * 8.0)
