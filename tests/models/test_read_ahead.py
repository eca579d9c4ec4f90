"""Bytes that are asked for ahead are read without anybody waiting for them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.checkpoints import random_checkpoint
from tests.models.expert_bank.sources import SMALL, repack

BIG = 4 * 2**20


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    tensors = {"big": torch.ones(BIG, dtype=torch.uint8), "small": torch.ones(1000, dtype=torch.uint8)}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path / "model.safetensors"


def forget(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path: Path, position: int) -> bool:
    with path.open("rb") as file:
        try:
            return bool(os.preadv(file.fileno(), [bytearray(1)], position, os.RWF_NOWAIT))
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what is cached")
def test_a_cold_tensor_is_cached_soon_after_it_was_asked_for_and_a_warm_one_costs_nothing(shard: Path) -> None:
    from dspark_models.read_ahead import ReadAhead
    from dspark_models.shards import read_header

    big, ahead = read_header(shard)["big"], ReadAhead()
    forget(shard)
    if cached(shard, big.offset + BIG // 2):
        pytest.skip("this file system keeps everything in memory")
    assert ahead.ask([big])
    deadline = time.monotonic() + 10
    places = range(big.offset, big.offset + BIG, 64 * 1024)
    while not all(cached(shard, place) for place in places):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not ahead.ask([big])


def test_small_tensors_are_left_to_the_system(shard: Path) -> None:
    from dspark_models.read_ahead import ReadAhead
    from dspark_models.shards import read_header

    forget(shard)
    assert not ReadAhead().ask([read_header(shard)["small"]])


def test_a_file_that_is_gone_is_no_error_of_the_question(shard: Path) -> None:
    from dspark_models.read_ahead import ReadAhead
    from dspark_models.shards import read_header

    info = read_header(shard)["big"]
    shard.unlink()
    assert not ReadAhead().ask([info])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_files_opened_to_ask_about_are_closed_with_the_checkpoint(shard: Path) -> None:
    from dspark_models.checkpoint import Checkpoint

    opened = Checkpoint.open(shard.parent)
    before = len(os.listdir("/proc/self/fd"))
    opened.read_ahead(["big", "unknown"])
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del opened
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("is_repacked", [False, True])
def test_the_store_asks_for_exactly_the_tensors_of_the_expert_in_either_layout(
    is_repacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspark_models.checkpoint import Checkpoint
    from dspark_models.experts import MappedExpertStore

    path = random_checkpoint(SMALL, draft="mtp").write(tmp_path / "source")
    opened = Checkpoint.open(repack(path, tmp_path / "bank") if is_repacked else path)
    asked: list[str] = []
    monkeypatch.setattr(opened, "read_ahead", asked.extend)
    MappedExpertStore(opened, torch.device("cpu")).fetch("mtp.0", 2)
    assert set(asked) == {name for name in opened.tensors if name.startswith("mtp.0.ffn.experts.2.")}
