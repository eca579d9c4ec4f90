"""The long-run rule, slot by slot."""

from __future__ import annotations

import pytest

from dspark_local.engine.foresight import Foresight
from dspark_local.engine.marginal_rate import LongRunRate, SlotMeans, admits, best_prefix, prefix_value


def line(rows: int) -> float:
    """Ten milliseconds, and four more for every further row."""
    return 0.010 + 0.004 * (rows - 1)


def test_a_draft_is_worth_its_row_when_it_brings_tokens_faster_than_the_answer_grows() -> None:
    assert admits([0.41], (), rate=100.0, seconds=line)
    assert not admits([0.39], (), rate=100.0, seconds=line)
    assert admits([0.9, 0.5], (), rate=100.0, seconds=line)
    assert not admits([0.9, 0.4], (), rate=100.0, seconds=line)


def test_a_dear_row_is_crossed_only_for_what_is_expected_behind_it() -> None:
    def stairs(rows: int) -> float:
        return 0.010 if rows == 1 else 0.022

    assert not admits([0.9], (), rate=100.0, seconds=stairs)
    assert admits([0.9], (0.9, 0.9), rate=100.0, seconds=stairs)
    assert not admits([0.9], (0.2, 0.2), rate=100.0, seconds=stairs)


def test_the_best_prefix_stops_before_the_rows_that_do_not_pay() -> None:
    value, length = best_prefix([0.9, 0.8, 0.3, 0.99], rate=100.0, seconds=line)
    assert length == 2
    assert value == pytest.approx(0.9 + 0.72 - 0.8)
    assert best_prefix([0.3, 0.9], rate=100.0, seconds=line) == (0.0, 0)


def test_a_prefix_is_worth_its_survivals_less_its_rows() -> None:
    assert prefix_value([0.9, 0.8], rate=100.0, seconds=line) == pytest.approx(0.9 + 0.72 - 0.8)
    assert prefix_value([0.1], rate=100.0, seconds=line) == pytest.approx(0.1 - 0.4)
    assert prefix_value([], rate=100.0, seconds=line) == 0.0


def test_the_rate_follows_the_rounds_and_never_falls_below_plain_decoding() -> None:
    rate = LongRunRate()
    assert rate.tokens_per_second(0.010) == pytest.approx(100.0)
    for _ in range(500):
        rate.note(4, 2.0)
    assert rate.tokens_per_second(0.010) == pytest.approx(200.0, rel=0.02)
    assert rate.tokens_per_second(0.005) == pytest.approx(400.0, rel=0.02)
    for _ in range(500):
        rate.note(1, 5.0)
    assert rate.tokens_per_second(0.010) == pytest.approx(100.0)


def test_slot_means_follow_each_slot() -> None:
    means = SlotMeans()
    assert means.first == 1.0
    for _ in range(200):
        means.note([0.8, 0.6])
    assert means.first == pytest.approx(0.8)
    assert list(means.after(0)) == pytest.approx([0.6])
    assert list(means.after(1)) == []


def test_foresight_learns_from_the_leftover_of_the_last_block_what_the_next_is_worth() -> None:
    foresight = Foresight(prior=0.5)
    assert foresight.expected() == 0.5
    foresight.note_block([0.9, 0.9, 0.9], 1, agreed=True, value=1.0)
    for _ in range(40):
        # After a leftover of little hope blocks are worth little, after one of much hope much.
        foresight.note_block([0.9, 0.1, 0.1], 1, agreed=True, value=1.0)
        foresight.note_block([0.9, 0.95, 0.9], 1, agreed=True, value=-0.2)
    foresight.note_block([0.9, 0.1, 0.1], 1, agreed=True, value=1.0)
    assert foresight.expected() < 0.0
    foresight.note_block([0.9, 0.95, 0.9], 1, agreed=True, value=-0.2)
    assert foresight.expected() > 0.8


def test_a_plain_round_moves_the_leftover_on() -> None:
    foresight = Foresight(prior=0.0)
    for _ in range(40):
        foresight.note_block([0.9, 0.1, 0.95], 1, agreed=True, value=0.0)
        foresight.note_plain(1)
        foresight.note_block([0.9, 0.95, 0.95], 3, agreed=True, value=2.0)
    foresight.note_block([0.9, 0.1, 0.95], 1, agreed=True, value=0.0)
    foresight.note_plain(1)
    assert foresight.expected() > 1.0
