from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dspark_local.hardware import disk_rate
from dspark_local.hardware.disk import filesystem_type, nearest_existing, read_disk
from dspark_local.hardware.disk_rate import READ_BYTES, measure_random_reads
from dspark_local.hardware.unmeasured import NotMeasuredError

fcntl = pytest.importorskip("fcntl", reason="disk reads are measured on systems with fcntl")
SHARED_MEMORY = Path("/dev/shm")
needs_tmpfs = pytest.mark.skipif(
    not SHARED_MEMORY.is_dir() or filesystem_type(SHARED_MEMORY) != "tmpfs", reason="there is no tmpfs at /dev/shm"
)


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    if filesystem_type(tmp_path) == "tmpfs":
        pytest.skip("the tests' temporary folder lies in memory")
    return tmp_path


def test_one_read_is_one_expert_in_whole_pages() -> None:
    assert READ_BYTES == 3 * 4096 * 2048 // 2 + 3 * 4096 * 2048 // 32  # FP4 codes and their scales
    assert READ_BYTES % 4096 == 0


def test_measured_again_the_rate_is_of_the_same_order_and_nothing_is_left(on_disk: Path) -> None:
    first = measure_random_reads(on_disk, seconds=0.3)
    second = measure_random_reads(on_disk, seconds=0.3)
    assert first > 1e6
    assert first / 10 < second < first * 10
    assert list(on_disk.iterdir()) == []


def test_a_large_file_that_is_there_is_read_and_nothing_is_written(
    on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_rate, "_LARGE_ENOUGH", 4 * READ_BYTES)
    (on_disk / "blobs").mkdir()
    weights = on_disk / "blobs/weights"
    weights.write_bytes(os.urandom(READ_BYTES) * 5)
    os.sync()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was written")

    monkeypatch.setattr(disk_rate.tempfile, "TemporaryFile", refuse)
    assert measure_random_reads(on_disk, seconds=0.2) > 1e6
    assert weights.stat().st_size == 5 * READ_BYTES


def test_a_file_of_holes_is_not_taken_for_a_disk(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_rate, "_LARGE_ENOUGH", 4 * READ_BYTES)
    with (on_disk / "sparse").open("wb") as file:
        file.truncate(8 * READ_BYTES)
    assert disk_rate._large_file(on_disk) is None


def test_where_direct_reads_are_refused_the_page_cache_is_dropped(
    on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = fcntl.fcntl, []

    def without_direct(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "refused")
        return int(real(descriptor, command, argument))

    dropped: list[int] = []
    real_advise = os.posix_fadvise

    def advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        dropped.append(offset)
        real_advise(descriptor, offset, length, advice)

    monkeypatch.setattr(fcntl, "fcntl", without_direct)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    assert measure_random_reads(on_disk, seconds=0.2) > 1e6
    assert refused
    assert len(dropped) >= 4


@needs_tmpfs
def test_a_folder_in_memory_is_not_measured_as_a_disk() -> None:
    with pytest.raises(NotMeasuredError, match=r"lies in memory \(tmpfs\)"):
        measure_random_reads(SHARED_MEMORY)


def test_nothing_is_written_to_a_nearly_full_disk(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(on_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_999_999_999))
    monkeypatch.setattr(disk_rate.tempfile, "TemporaryFile", None)  # calling it would be a TypeError
    with pytest.raises(NotMeasuredError, match="Less than 2 GB is free"):
        measure_random_reads(on_disk)


def test_a_folder_that_cannot_be_written_is_named(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(disk_rate.tempfile, "TemporaryFile", refuse)
    with pytest.raises(NotMeasuredError, match=r"No test file can be written to .*: Permission denied"):
        measure_random_reads(on_disk)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_or_a_kill_leaves_no_file(on_disk: Path, end: signal.Signals) -> None:
    code = (
        "import signal, sys; from pathlib import Path\n"
        "from dspark_local.hardware.disk_rate import measure_random_reads\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('started', flush=True); measure_random_reads(Path(sys.argv[1]), seconds=30)"
    )
    free = shutil.disk_usage(on_disk).free
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(on_disk)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    time.sleep(0.4)
    assert list(on_disk.iterdir()) == []
    process.send_signal(end)
    process.wait(timeout=10)
    process.stdout.close()
    assert list(on_disk.iterdir()) == []
    assert shutil.disk_usage(on_disk).free > free - 10**9


def test_ctrl_c_while_writing_closes_the_file(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_random_reads(on_disk)
    assert list(on_disk.iterdir()) == []


def test_the_disk_of_a_folder_to_come_is_that_of_its_ancestor(tmp_path: Path) -> None:
    disk = read_disk(tmp_path / "not" / "there")
    assert disk.path == str(tmp_path / "not" / "there")
    assert disk.total_bytes == shutil.disk_usage(tmp_path).total
    assert nearest_existing(tmp_path / "not" / "there") == tmp_path


def test_a_system_without_positioned_reads_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    with pytest.raises(NotMeasuredError, match="not measured on this system"):
        measure_random_reads(tmp_path)
