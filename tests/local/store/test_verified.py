from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dspark_local.store.digests import Digest
from dspark_local.store.verified import VerifiedFiles

CONTENT = b"weights"
DIGEST = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())
OTHER = Digest("sha256", "0" * 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return path


def test_a_file_nobody_checked_does_not_hold(tmp_path: Path, file: Path) -> None:
    assert not VerifiedFiles(tmp_path / "record").holds(file)


def test_a_checked_file_holds_for_the_next_process_and_through_a_link(tmp_path: Path, file: Path) -> None:
    VerifiedFiles(tmp_path / "record").record(file, DIGEST)
    link = tmp_path / "link"
    link.symlink_to(file)
    verified = VerifiedFiles(tmp_path / "record")
    assert verified.holds(file)
    assert verified.holds(link, DIGEST)
    assert not verified.holds(file, OTHER)


def test_a_file_that_changed_no_longer_holds(tmp_path: Path, file: Path) -> None:
    verified = VerifiedFiles(tmp_path / "record")
    verified.record(file, DIGEST)
    stat = file.stat()
    file.write_bytes(b"WEIGHTS")  # same length, so only the time tells
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert not verified.holds(file)
    file.write_bytes(CONTENT + b"!")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same time, so only the length tells
    assert not verified.holds(file)
    file.unlink()
    assert not verified.holds(file)


def test_checking_reads_the_file_whatever_the_record_says(tmp_path: Path, file: Path) -> None:
    verified = VerifiedFiles(tmp_path / "record")
    assert verified.check(file, DIGEST)
    assert verified.holds(file, DIGEST)
    stat = file.stat()
    file.write_bytes(b"weighty")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a flip on the disk changes neither length nor time
    assert verified.holds(file, DIGEST)
    assert not verified.check(file, DIGEST)


def test_what_another_process_adds_is_seen(tmp_path: Path, file: Path) -> None:
    verified = VerifiedFiles(tmp_path / "record")
    assert not verified.holds(file)
    VerifiedFiles(tmp_path / "record").record(file, DIGEST)
    assert verified.holds(file)


def test_damaged_lines_cost_only_themselves(tmp_path: Path, file: Path) -> None:
    record = tmp_path / "record"
    record.write_bytes(b'{"path": "/x", "si\xff\n[1]\nnull\n\n{"path": "cut off')
    verified = VerifiedFiles(record)
    verified.record(file, DIGEST)
    assert verified.holds(file, DIGEST)
    assert VerifiedFiles(record).holds(file, DIGEST)


def test_a_removed_record_is_begun_anew(tmp_path: Path, file: Path) -> None:
    record = tmp_path / "record"
    verified = VerifiedFiles(record)
    verified.record(file, DIGEST)
    assert verified.holds(file)
    record.unlink()
    record.touch()
    assert not verified.holds(file)


def test_a_record_that_cannot_be_written_is_no_error_and_counts_in_this_process(tmp_path: Path, file: Path) -> None:
    verified = VerifiedFiles(tmp_path / "no such folder" / "record")
    verified.record(file, DIGEST)
    assert verified.holds(file, DIGEST)


def test_several_processes_lose_no_line_to_each_other(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from dspark_local.store.digests import Digest
from dspark_local.store.verified import VerifiedFiles
record, folder, worker = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for i in range(200):
    file = folder / f"{worker}-{i}"
    file.touch()
    VerifiedFiles(record).record(file, Digest("git-sha1", "0" * 40))
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "record"), str(tmp_path)]
    workers = [subprocess.Popen([*arguments, str(number)]) for number in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    verified = VerifiedFiles(tmp_path / "record")
    assert all(verified.holds(tmp_path / f"{worker}-{i}") for worker in range(4) for i in range(200))
