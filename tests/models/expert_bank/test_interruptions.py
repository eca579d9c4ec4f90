"""Killed at any moment, the same call continues to the same folder, and nothing of the source is lost."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models.checkpoints import random_checkpoint
from tests.models.expert_bank.sources import SMALL, fingerprint, repack, write_scattered

TOUCHES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


@pytest.fixture(params=["a shard a layer", "experts split over shards"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "a shard a layer":
        return random_checkpoint(SMALL, draft="mtp").write(tmp_path / "source")
    return write_scattered(random_checkpoint(SMALL, draft="mtp"), tmp_path / "source")


def in_a_process(work: Callable[[], object], *, kill_at: int) -> tuple[int, int]:
    """Run forked, dead by SIGKILL before touch `kill_at` of the disk -> (touches, exit code)."""
    context: Any = multiprocessing.get_context("fork")
    touched = context.Value("i", 0)

    def counted(is_touch: bool) -> None:
        if is_touch:
            touched.value += 1
            if touched.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        sys.addaudithook(lambda event, _: counted(event in TOUCHES))
        sync = os.fsync
        os.fsync = lambda descriptor: (counted(True), sync(descriptor))[1]
        work()

    process = context.Process(target=child)
    process.start()
    process.join()
    return touched.value, process.exitcode


@pytest.mark.parametrize("remove", [False, True], ids=["keeping the source", "removing the source"])
@pytest.mark.parametrize("moments", [20, pytest.param(10**6, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_kill_at_any_moment_loses_nothing(source: Path, moments: int, remove: bool, tmp_path: Path) -> None:
    """The moments lie evenly over everything that touches the disk."""
    from dspark_models import CheckpointError, NotAModelError
    from dspark_models.checkpoint import Checkpoint

    whole, shards = fingerprint(repack(source, tmp_path / "whole")), fingerprint(source)
    given, made = tmp_path / "given", tmp_path / "made"

    def work() -> None:
        repack(given, made, remove=remove)

    def begin() -> None:
        for folder in (given, made):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, given)

    begin()
    touches, code = in_a_process(work, kill_at=0)
    assert code == 0
    assert touches > 100
    assert fingerprint(made) == whole
    for kill_at in range(1, touches + 1, max(1, touches // moments)):
        begin()
        assert in_a_process(work, kill_at=kill_at)[1] == -signal.SIGKILL
        if fingerprint(made).items() & whole.items() != whole.items():
            with pytest.raises((CheckpointError, NotAModelError)):
                Checkpoint.open(made)
        if not remove:
            assert fingerprint(given) == shards
        work()
        assert fingerprint(made) == whole, f"killed at {kill_at} of {touches}"
    assert bool(list(given.glob("*.safetensors"))) is not remove


def test_killed_again_and_again_it_still_arrives(source: Path, tmp_path: Path) -> None:
    whole = fingerprint(repack(source, tmp_path / "whole"))
    made, kills = tmp_path / "made", 0
    # 120 touches are more than a shard needs, so each attempt gets further.
    while in_a_process(lambda: repack(source, made, remove=True), kill_at=120)[1]:
        kills += 1
        assert kills < 40
    assert kills > 1
    assert fingerprint(made) == whole


def test_what_was_done_before_the_kill_is_not_done_again(tmp_path: Path) -> None:
    source = random_checkpoint(SMALL, draft="mtp").write(tmp_path / "source")
    sizes = {path.name: path.stat().st_size for path in source.glob("*.safetensors")}
    made, moved = tmp_path / "made", 0

    def stop_after_three_shards(count: int) -> None:
        nonlocal moved
        moved += count
        if len(list(made.glob(".repacking/done/*.json"))) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        repack(source, made, on_bytes=stop_after_three_shards)
    first, moved = moved, 0

    def count_bytes(count: int) -> None:
        nonlocal moved
        moved += count

    repack(source, made, on_bytes=count_bytes)
    everything = 2 * sum(sizes.values())
    assert first + moved < everything + 2 * max(sizes.values())
    assert moved < everything - first + 2 * max(sizes.values())


def test_a_shard_goes_only_after_its_part_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dspark_models.expert_bank.plan import RepackPlan
    from dspark_models.expert_bank.repacker import Repacker
    from dspark_models.shards import read_header

    source = random_checkpoint(SMALL, draft="mtp").write(tmp_path / "source")
    made = tmp_path / "made"
    synced: dict[int, int] = {}
    sync = os.fsync

    def remember(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_mtime_ns
        sync(descriptor)

    def remove(shard: Path) -> None:
        for path in [*made.glob("experts/*"), *made.glob("dense-*"), *made.glob(".repacking/*/*")]:
            assert synced[path.stat().st_ino] == path.stat().st_mtime_ns, path
        assert (made / ".repacking" / "done" / f"{shard.name}.json").is_file()
        shard.unlink()

    monkeypatch.setattr(os, "fsync", remember)
    shards = sorted(source.glob("*.safetensors"))
    repacker = Repacker(made, RepackPlan.of({s.name: read_header(s) for s in shards}, origin="", name=""))
    repacker.take_companions([source / "config.json"])
    for shard in shards:
        repacker.add_shard(shard, remove=remove)
    assert not list(source.glob("*.safetensors"))


def test_with_removal_the_disk_never_holds_more_than_one_shard_on_top(tmp_path: Path) -> None:
    config = {**SMALL, "hidden_size": 256, "moe_intermediate_size": 1024, "n_routed_experts": 8}
    source = random_checkpoint(config, draft="dspark").write(tmp_path / "source")
    made = tmp_path / "made"

    def held() -> int:
        return sum(p.stat().st_blocks * 512 for f in (source, made) for p in f.rglob("*") if p.is_file())

    before, largest, peak = held(), max(p.stat().st_size for p in source.glob("*.safetensors")), 0

    def watch(_: int) -> None:
        nonlocal peak
        peak = max(peak, held())

    repack(source, made, remove=True, on_bytes=watch)
    slack = 256 * 1024
    assert before + largest / 2 < peak < before + largest + slack
    assert held() < before + slack
