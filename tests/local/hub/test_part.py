"""What a partial file knows of itself, without any network."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.hub.part import Part, Piece, whole_file

CONTENT = bytes(range(256)) * 4


def _part(folder: Path, pieces: tuple[Piece, ...] | None = None, *, key: str = "k", prefix: bytes = b"") -> Part:
    chosen = whole_file(len(CONTENT), 300) if pieces is None else pieces
    return Part(folder / "part", folder / "journal", chosen, key=key, prefix=prefix)


def test_pieces_cover_a_file_once() -> None:
    assert [piece.length for piece in whole_file(1024, 300)] == [300, 300, 300, 124]
    assert whole_file(0, 300) == ()


def test_bytes_in_any_order_make_the_file(tmp_path: Path) -> None:
    part = _part(tmp_path)
    for start, end in ((600, 900), (0, 10), (300, 600), (10, 300), (900, 1024)):
        assert part.write(start, CONTENT[start:end]) == end - start
    part.move_to(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == CONTENT
    assert not (tmp_path / "journal").exists()


def test_what_is_there_already_counts_once(tmp_path: Path) -> None:
    part = _part(tmp_path)
    part.write(0, CONTENT[:200])
    assert part.write(0, CONTENT[:450]) == 250
    assert part.done == 450
    assert part.frontier() == 450


def test_bytes_beyond_a_gap_of_their_piece_are_not_kept(tmp_path: Path) -> None:
    part = _part(tmp_path)
    assert part.write(100, CONTENT[100:300]) == 0
    assert part.missing(0) == (0, 300)


def test_a_later_run_knows_what_the_first_left(tmp_path: Path) -> None:
    first = _part(tmp_path)
    first.write(0, CONTENT[:100])
    first.write(300, CONTENT[300:600])
    # Neither closed nor flushed: as after SIGKILL.
    again = _part(tmp_path)
    assert again.done == 400
    assert [again.missing(index)[0] for index in range(4)] == [100, 600, 600, 900]
    again.write(100, CONTENT[100:300])
    assert again.frontier() == 600


def test_a_part_of_something_else_counts_for_nothing(tmp_path: Path) -> None:
    _part(tmp_path).write(0, CONTENT[:100])
    assert _part(tmp_path, key="other").done == 0


@pytest.mark.parametrize("damage", ["truncated journal", "empty journal", "no journal", "no part"])
def test_a_damaged_journal_begins_anew(tmp_path: Path, damage: str) -> None:
    _part(tmp_path).write(0, CONTENT[:100])
    journal, part = tmp_path / "journal", tmp_path / "part"
    if damage == "truncated journal":
        journal.write_bytes(journal.read_bytes()[:-3])
    elif damage == "empty journal":
        journal.write_bytes(b"")
    else:
        (journal if damage == "no journal" else part).unlink()
    again = _part(tmp_path)
    assert again.done == 0
    assert part.read_bytes() == b""


def test_a_journal_never_promises_more_than_the_file_holds(tmp_path: Path) -> None:
    first = _part(tmp_path)
    first.write(0, CONTENT[:300])
    (tmp_path / "part").write_bytes(CONTENT[:120])
    assert _part(tmp_path).done == 120


def test_scattered_pieces_of_a_stream_become_a_file_of_their_own(tmp_path: Path) -> None:
    part = _part(tmp_path, (Piece(10, 3, 20), Piece(100, 23, 50)), prefix=b"abc")
    # As when a server sends everything although two ranges are wanted.
    for start in range(0, len(CONTENT), 7):
        part.write(start, CONTENT[start : start + 7])
    assert part.done == 70
    part.move_to(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"abc" + CONTENT[10:30] + CONTENT[100:150]
