"""Damage is found and named: in the records, in the index, in what is repacked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.checkpoints import random_checkpoint
from tests.models.expert_bank.sources import SMALL, repack

Index = dict[str, Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and its repacked folder, to be copied before they are damaged."""
    path = tmp_path_factory.mktemp("sound")
    repack(random_checkpoint(SMALL, draft="mtp").write(path / "source"), path / "bank")
    return path


@pytest.fixture
def source(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound / "source", tmp_path / "source")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound / "bank", tmp_path / "bank")


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def test_a_sound_folder_is_verified_to_the_last_byte(folder: Path) -> None:
    from dspark_models.expert_bank.verify import verify_bank

    heard: list[int] = []
    files = [*folder.glob("experts/*.bank"), *folder.glob("dense-*")]
    hashes = verify_bank(folder, heard.append)
    assert sum(heard) == sum(path.stat().st_size for path in files)
    assert hashes == {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("place", [0, 0.3, 0.77, 0.999999])
def test_a_flipped_bit_is_found_and_its_expert_named(folder: Path, place: float) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint
    from dspark_models.expert_bank.verify import verify_bank

    bank = Checkpoint.open(folder).bank
    assert bank is not None
    record = bank.record("mtp.0", 3)
    flip(record.path, record.offset + int(place * record.nbytes))
    with pytest.raises(CheckpointError, match=r"Expert 3 of mtp\.0 .*damaged"):
        verify_bank(folder)


def test_a_flipped_bit_in_a_dense_file_is_found(folder: Path) -> None:
    from dspark_models import CheckpointError
    from dspark_models.expert_bank.verify import verify_bank

    dense = sorted(folder.glob("dense-*"))[1]
    flip(dense, dense.stat().st_size - 5)
    with pytest.raises(CheckpointError, match=rf"{dense.name}.*damaged"):
        verify_bank(folder)


def test_a_folder_without_a_bank_cannot_be_verified(source: Path) -> None:
    from dspark_models import CheckpointError
    from dspark_models.expert_bank.verify import verify_bank

    with pytest.raises(CheckpointError, match="no expert bank"):
        verify_bank(source)


def put(path: tuple[str | int, ...], value: object) -> Callable[[Index], None]:
    def change(index: Index) -> None:
        at: Any = index
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put(("version",), 2),
        put(("format",), "another"),
        put(("alignment",), 512),
        put(("blocks", 0, "file"), "../layers.0.bank"),
        put(("blocks", 0, "file"), "layers.1.bank"),
        put(("blocks", 0, "layout", "block"), "../../etc"),
        put(("blocks", 0, "layout", "block"), "layers.1"),
        put(("blocks", 0, "layout", "block"), "layers.0\n"),
        put(("blocks", 0, "layout", "experts"), 5),
        put(("blocks", 0, "layout", "experts"), -1),
        put(("blocks", 0, "layout", "experts"), True),
        put(("blocks", 0, "layout", "experts"), 10**30),
        put(("blocks", 0, "layout", "stride"), 4096),
        put(("blocks", 0, "layout", "parts", 1, "offset"), 0),
        put(("blocks", 0, "layout", "parts", 1, "offset"), -64),
        put(("blocks", 0, "layout", "parts", 0, "shape"), [128, 65]),
        put(("blocks", 0, "layout", "parts", 0, "shape"), [-128, -64]),
        put(("blocks", 0, "layout", "parts", 0, "shape"), []),
        put(("blocks", 0, "layout", "parts", 0, "dtype"), "F8_E4M3FNUZ"),
        put(("blocks", 0, "layout", "parts", 0, "name"), "w9.weight"),
        put(("blocks", 0, "layout", "parts"), []),
        put(("blocks", 0, "sha256"), []),
        put(("blocks", 0, "sha256", 0), "00"),
        put(("blocks", 0, "surplus"), 1),
        put(("dense", 0, "file"), "../config.json"),
        lambda index: index["blocks"].append(index["blocks"][0]),
        lambda index: index.pop("source"),
    ],
)
def test_a_damaged_index_is_refused_by_its_name(folder: Path, change: Callable[[Index], None]) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint

    path = folder / "experts" / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(folder)
    assert "index.json" in caught.value.message or ".bank" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"blocks": NaN}'])
def test_an_index_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint

    (folder / "experts" / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("change", [-4096, -1, 4096])
def test_a_bank_of_another_length_is_refused_with_both_lengths(folder: Path, change: int) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint

    bank = folder / "experts" / "layers.1.bank"
    size = bank.stat().st_size
    os.truncate(bank, size + change)
    with pytest.raises(CheckpointError, match=f"{size + change:,} bytes, its index needs {size:,}"):
        Checkpoint.open(folder)


def test_a_missing_bank_is_named(folder: Path) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint

    (folder / "experts" / "mtp.0.bank").unlink()
    with pytest.raises(CheckpointError, match=r"mtp\.0\.bank"):
        Checkpoint.open(folder)


def change_shard(source: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    shard = sorted(source.glob("*.safetensors"))[1]
    tensors = load_file(shard)
    change(tensors)
    save_file(tensors, shard)


W1 = "layers.0.ffn.experts.2.w1"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t.pop(f"{W1}.scale"), "1 tensors of the experts of layers.0 are missing"),
        (lambda t: t.update({f"{W1}.weight": t[f"{W1}.weight"][:64].clone()}), r"\[64, 64\]"),
        (lambda t: t.update({f"{W1}.weight": t[f"{W1}.weight"].view(torch.uint8)}), "U8.*I8"),
        (lambda t: [t.pop(name) for name in list(t) if ".w2." in name and ".experts." in name], "that is no expert"),
    ],
)
def test_experts_that_are_incomplete_or_unlike_are_refused_before_anything_is_written(
    source: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], what: str
) -> None:
    from dspark_models import CheckpointError

    change_shard(source, change)
    with pytest.raises(CheckpointError, match=what):
        repack(source, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_a_model_without_routed_experts_has_nothing_to_repack(tmp_path: Path) -> None:
    from dspark_models import CheckpointError

    (tmp_path / "dense").mkdir()
    save_file({"embed.weight": torch.zeros(4, 4)}, tmp_path / "dense" / "model.safetensors")
    with pytest.raises(CheckpointError, match="no routed experts"):
        repack(tmp_path / "dense", tmp_path / "bank")


def test_a_tensor_in_two_shards_is_refused(source: Path, tmp_path: Path) -> None:
    from dspark_models import CheckpointError

    change_shard(source, lambda tensors: tensors.update({"norm.weight": torch.zeros(128)}))
    with pytest.raises(CheckpointError, match=r"norm\.weight stands in both"):
        repack(source, tmp_path / "bank")


def test_a_truncated_shard_stops_the_work_and_its_whole_self_continues_it(source: Path, tmp_path: Path) -> None:
    from dspark_models import CheckpointError
    from dspark_models.checkpoint import Checkpoint
    from dspark_models.expert_bank.plan import RepackPlan
    from dspark_models.expert_bank.repacker import Repacker
    from dspark_models.shards import read_header

    shards = sorted(source.glob("*.safetensors"))
    plan = RepackPlan.of({s.name: read_header(s) for s in shards}, origin="here", name="tiny")
    whole = shards[2].read_bytes()
    shards[2].write_bytes(whole[:-1])
    for shard in shards[:2]:
        Repacker(tmp_path / "bank", plan).add_shard(shard)
    with pytest.raises(CheckpointError, match="truncated"):
        Repacker(tmp_path / "bank", plan).add_shard(shards[2])
    with pytest.raises(CheckpointError, match="half repacked"):
        Checkpoint.open(tmp_path / "bank")
    shards[2].write_bytes(whole)
    Checkpoint.open(repack(source, tmp_path / "bank"))


def test_a_replaced_shard_is_not_deleted_as_if_it_had_been_repacked(source: Path, folder: Path) -> None:
    from dspark_models import CheckpointError

    change_shard(source, lambda tensors: tensors[f"{W1}.weight"].add_(1))
    before = {path.name for path in source.glob("*.safetensors")}
    with pytest.raises(CheckpointError, match="not what was repacked"):
        repack(source, folder, remove=True)
    assert sorted(before)[1] in {path.name for path in source.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("kind", "what"), [("*.bank", "Expert 0 of layers.0 was not"), ("dense-*", r"dense-.* was not")]
)
def test_a_disk_that_returns_other_bytes_is_noticed_before_the_source_goes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, what: str
) -> None:
    from dspark_models import CheckpointError
    from dspark_models.expert_bank import shard_writer

    def corrupting(file: Any) -> None:
        sync(file)
        if Path(file.name).match(kind):
            flip(Path(file.name), 12_345)

    sync = shard_writer.sync_file
    monkeypatch.setattr(shard_writer, "sync_file", corrupting)
    with pytest.raises(CheckpointError, match=f"{what} written whole"):
        repack(source, tmp_path / "bank", remove=True)
    monkeypatch.undo()
    assert len(list(source.glob("*.safetensors"))) >= 3
    assert repack(source, tmp_path / "bank", remove=True)


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_a_folder_that_holds_something_else_is_left_alone(source: Path, tmp_path: Path, name: str) -> None:
    from dspark_models import CheckpointError

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(CheckpointError, match="not empty"):
        repack(source, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; the checkpoint needs more."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_an_error_of_the_system_and_room_lets_it_continue(source: Path, small_disk: Path) -> None:
    import errno

    from dspark_models.checkpoint import Checkpoint

    with pytest.raises(OSError, match="No space left") as caught:
        repack(source, small_disk / "bank")
    assert caught.value.errno == errno.ENOSPC
    done = list(small_disk.glob("bank/.repacking/done/*.json"))
    assert done
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    Checkpoint.open(repack(source, small_disk / "bank"))
