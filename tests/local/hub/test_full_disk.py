"""A disk that is too small, or becomes so: a real one, mounted for the test."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspark_local.errors import DiskFullError
from tests.local.hub.conftest import Setting
from tests.local.hub.stand_in_hub import random_folder

DISK_BYTES = 8 * 2**20
SIZE = 6_000_000
NAME = "model.safetensors"


@pytest.fixture
def small_disk(setting: Setting) -> Iterator[Path]:
    """The cache on a file system of 8 MiB."""
    setting.cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(setting.cache)]
    try:
        outcome = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program here")
    if outcome.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {outcome.stderr.strip()}")
    try:
        yield setting.cache
    finally:
        subprocess.run(["umount", "-l", str(setting.cache)], check=False)


def _fill_when_served(setting: Setting, disk: Path, served: int) -> threading.Thread:
    """Another program that takes the room once the download is under way."""

    def fill() -> None:
        while setting.hub.served.total() < served:
            time.sleep(0.005)
        (disk / "somebody-elses").write_bytes(bytes(4_500_000))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    return thread


def test_a_disk_too_small_is_refused_before_the_first_byte(setting: Setting, small_disk: Path) -> None:
    setting.hub.add("owner/model", random_folder(setting.root / "source", {NAME: 9_000_000}))
    with pytest.raises(DiskFullError, match=r"9\.0 MB are still to be written .* 8\.4 MB are free") as caught:
        setting.pull()
    assert "Free at least 6" in caught.value.hint
    assert not setting.hub.served


def test_room_to_be_kept_free_counts_too(setting: Setting, small_disk: Path) -> None:
    setting.hub.add("owner/model", random_folder(setting.root / "source", {NAME: SIZE}))
    with pytest.raises(DiskFullError):
        setting.pull(reserve_bytes=4_000_000)
    assert not setting.hub.served


@pytest.mark.parametrize("is_foreseen", [True, False])
def test_a_disk_that_fills_up_meanwhile_keeps_what_came(
    setting: Setting, small_disk: Path, monkeypatch: pytest.MonkeyPatch, is_foreseen: bool
) -> None:
    """Foreseen by the look that is taken every second, or met as the refusal of a write."""
    setting.hub.add("owner/model", random_folder(setting.root / "source", {NAME: SIZE}))
    if not is_foreseen:
        monkeypatch.setattr("dspark_local.hub.fleet.check_room", lambda needed, kept: None)
    setting.hub.bytes_per_second = 1.5e6
    filler = _fill_when_served(setting, small_disk, 1_000_000)
    with pytest.raises(DiskFullError, match="are still to be written") as caught:
        setting.pull()
    filler.join()
    assert "are kept; run the same command to continue" in caught.value.hint
    assert (shutil.disk_usage(small_disk).free > 200_000) is is_foreseen
    assert setting.partial_files()
    (small_disk / "somebody-elses").unlink()
    setting.hub.bytes_per_second = None
    setting.pull()
    assert not setting.partial_files()
    assert setting.hub.served.total() < 1.1 * SIZE
    setting.assert_progress_never_falls()
