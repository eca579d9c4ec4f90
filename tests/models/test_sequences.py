"""How far a sequence may go back."""

from __future__ import annotations

import pytest

from dspark_models.sequences import SequenceTable

SPAN = 32


def at(length: int) -> tuple[SequenceTable, int]:
    table = SequenceTable(1, SPAN)
    slot = table.reserve()
    table.extend(slot, length)
    return table, slot


def test_a_sequence_goes_back_by_the_whole_span() -> None:
    table, slot = at(100)
    table.rewind(slot, 100 - SPAN)
    assert table.length(slot) == 100 - SPAN


def test_rejected_tokens_count_because_they_overwrote_the_oldest_rows() -> None:
    table, slot = at(106)
    table.rewind(slot, 101)
    with pytest.raises(ValueError, match="furthest"):
        table.rewind(slot, 106 - SPAN - 1)
    table.rewind(slot, 106 - SPAN)


def test_a_restore_makes_the_whole_span_available_again() -> None:
    table, slot = at(300)
    table.restore(slot, 100, 100)
    table.rewind(slot, 100 - SPAN)
    assert table.length(slot) == 100 - SPAN


def test_a_long_pass_that_broke_off_leaves_a_sequence_that_is_refused() -> None:
    table, slot = at(100)
    table.begin(slot, 100 + SPAN + 1)
    with pytest.raises(ValueError, match="middle of a pass"):
        table.begin(slot, 101)


def test_a_sequence_never_goes_forward_by_a_rewind() -> None:
    table, slot = at(10)
    with pytest.raises(ValueError, match="cannot rewind"):
        table.rewind(slot, 11)


def test_a_table_that_is_full_says_so_and_a_freed_slot_comes_back_empty() -> None:
    table, slot = at(10)
    with pytest.raises(RuntimeError, match="All 1 sequences"):
        table.reserve()
    table.free(slot)
    assert table.length(table.reserve()) == 0
