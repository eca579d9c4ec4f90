"""`dspark-local repack`: what people and scripts see of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from dspark_local import repacking
from dspark_local.commands.repack import repack
from dspark_local.errors import CheckpointError, DiskFullError, DsparkError, ModelNotFoundError, UsageError
from tests.models.checkpoints import INDEX_NAME, random_checkpoint
from tests.models.expert_bank.sources import SMALL, fingerprint

Run = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = random_checkpoint(SMALL, draft="dspark").write(tmp_path / "model", tokenizer=True)
    (path / "generation_config.json").write_text('{"temperature": 1.0}')
    (path / "README.md").write_text("# A model\n")
    (path / "convert.py").write_text("raise SystemExit\n")
    (path / "notes.doc").write_text("mine")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command with options as keywords -> (stdout, stderr)."""

    def call(source: Path, destination: Path | None = None, **options: bool) -> tuple[str, str]:
        defaults = {"remove_source": False, "yes": False, "as_json": False}
        repack(str(source), destination, **{**defaults, **options})
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


def test_a_repacked_model_lies_beside_its_source_and_the_next_command_is_told(source: Path, run: Run) -> None:
    before = fingerprint(source)
    out, err = run(source)
    made = source.with_name("model-repacked")
    assert fingerprint(source) == before
    assert f"{made}: " in out
    assert "20 experts of 5 blocks" in out
    assert f'Next: dspark-local run --model {made} "..."' in out
    assert re.search(r"\d MB to repack; needs .* of room, .* are free", err)
    assert "\x1b" not in out + err


def test_what_belongs_to_the_model_comes_along_and_code_and_strangers_do_not(source: Path, run: Run) -> None:
    run(source)
    made = source.with_name("model-repacked")
    names = {path.name for path in made.iterdir() if not path.name.startswith("dense-")}
    assert names == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        INDEX_NAME,
        "experts",
    }
    assert (made / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_the_engine_answers_from_the_repacked_folder_as_from_the_source(source: Path, run: Run) -> None:
    from dspark_local.native import NativeBackend

    run(source)
    scores = [
        NativeBackend.load(path, dtype="float32", device="cpu", context_length=64).score(list(range(8, 40)))
        for path in (source, source.with_name("model-repacked"))
    ]
    assert scores[0] == scores[1]


def test_a_pipe_sees_plain_lines_that_never_run_backwards(source: Path, run: Run) -> None:
    _, err = run(source)
    percents = [int(found) for found in re.findall(r"^repack (\d+) %$", err, re.MULTILINE)]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) <= 21


def test_json_is_one_object_with_the_numbers(source: Path, tmp_path: Path, run: Run) -> None:
    out, _ = run(source, tmp_path / "there", as_json=True)
    said = json.loads(out)
    assert said["destination"] == str(tmp_path / "there")
    assert said["bytes"] == sum(path.stat().st_size for path in (tmp_path / "there").rglob("*") if path.is_file())
    assert (said["experts"], said["blocks"], said["source_is_gone"]) == (20, 5, False)


def test_repacking_twice_does_nothing_the_second_time(source: Path, run: Run) -> None:
    run(source)
    before = fingerprint(source.with_name("model-repacked"))
    out, err = run(source)
    assert "repacked already" in out
    assert not err
    assert fingerprint(source.with_name("model-repacked")) == before


def test_removing_the_source_leaves_only_what_is_the_users(source: Path, run: Run) -> None:
    out, _ = run(source, remove_source=True, yes=True)
    assert sorted(path.name for path in source.iterdir()) == ["convert.py", "notes.doc"]
    assert f"{source} still holds files that are not the model's" in out
    (source / "convert.py").unlink()
    (source / "notes.doc").unlink()
    assert "repacked already" in run(source, remove_source=True, yes=True)[0]
    assert not source.exists()


def test_a_source_can_be_removed_after_it_was_repacked(source: Path, run: Run) -> None:
    run(source)
    run(source, remove_source=True, yes=True)
    assert not list(source.glob("*.safetensors"))


def test_nothing_is_removed_unasked_where_nobody_can_be_asked(
    source: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(source)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UsageError, match="--remove-source deletes") as caught:
        run(source, remove_source=True)
    assert "--yes" in caught.value.hint
    assert fingerprint(source) == before


def test_a_no_to_the_question_leaves_everything(source: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(source)
    asked: list[str] = []

    def refuse(question: str, **_: object) -> None:
        asked.append(question)
        raise typer.Abort

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(typer, "confirm", refuse)
    with pytest.raises(typer.Abort):
        run(source, remove_source=True)
    assert str(source) in asked[0]
    assert fingerprint(source) == before
    assert not source.with_name("model-repacked").exists()


def test_links_are_not_removed_since_that_would_free_nothing(source: Path, tmp_path: Path, run: Run) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in source.iterdir():
        (linked / path.name).symlink_to(path)
    with pytest.raises(UsageError, match="is a link"):
        run(linked, remove_source=True, yes=True)
    assert not (tmp_path / "linked-repacked").exists()
    run(linked)


def test_an_own_way_of_removing_is_used_for_every_file_of_the_model(source: Path, tmp_path: Path) -> None:
    gone: list[str] = []

    def remove(shard: Path) -> None:
        gone.append(shard.name)
        shard.unlink()

    shards = sorted(path.name for path in source.glob("*.safetensors"))
    wanted = repacking.RepackSource(source, "owner/name", "owner/name@0123", remove)
    repacking.repack(wanted, tmp_path / "there", remove_source=True)
    assert gone[: len(shards)] == shards
    assert INDEX_NAME in gone[len(shards) :]
    index = json.loads((tmp_path / "there" / "experts" / "index.json").read_text())
    assert index["source"]["name"] == "owner/name"


@pytest.mark.parametrize(
    ("prepare", "error", "said"),
    [
        (lambda path: path.with_name("nowhere"), ModelNotFoundError, "There is no directory"),
        (lambda path: (path / "config.json").unlink() or path, ModelNotFoundError, "config.json is missing"),
        (lambda path: [p.unlink() for p in path.glob("*.safetensors*")] and path, CheckpointError, "no safetensors"),
        (lambda path: sorted(path.glob("*.safetensors"))[0].unlink() or path, CheckpointError, "is missing in"),
        (lambda path: os.truncate(sorted(path.glob("*.safetensors"))[0], 999) or path, CheckpointError, "999"),
    ],
)
def test_a_source_that_is_no_model_is_said_in_a_sentence(
    source: Path, run: Run, prepare: Callable[[Path], Any], error: type[DsparkError], said: str
) -> None:
    given = prepare(source)
    with pytest.raises(error, match=said) as caught:
        run(given)
    assert caught.value.hint
    assert not given.with_name(f"{given.name}-repacked").exists()


def test_a_repacked_folder_is_not_repacked_again(source: Path, run: Run) -> None:
    run(source)
    with pytest.raises(UsageError, match="repacked already"):
        run(source.with_name("model-repacked"))


def test_a_folder_begun_from_another_source_is_not_continued(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    stop_after(1, source, tmp_path / "there")
    other = random_checkpoint(SMALL, seed=1, draft="dspark").write(tmp_path / "other")
    with pytest.raises(UsageError, match="was begun from"):
        repacking.repack(repacking.RepackSource(other), tmp_path / "there")


def stop_after(shards: int, source: Path, destination: Path, **options: Any) -> None:
    def stop(_: int) -> None:
        if len(list(destination.glob(".repacking/done/*.json"))) >= shards:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repacking.repack(repacking.RepackSource(source), destination, on_bytes=stop, **options)


@pytest.mark.parametrize("remove", [False, True])
def test_an_interrupted_repack_says_what_is_done_and_continues(
    source: Path, tmp_path: Path, run: Run, remove: bool
) -> None:
    from dspark_local.native import NativeBackend

    run(source, tmp_path / "whole")
    stop_after(3, source, tmp_path / "there", remove_source=remove)
    assert (len(list(source.glob("*.safetensors"))) < 7) is remove
    with pytest.raises(CheckpointError, match="half repacked"):
        NativeBackend.load(tmp_path / "there", dtype="float32", device="cpu", context_length=64)
    _, err = run(source, tmp_path / "there", remove_source=remove, yes=True)
    assert "are done already" in err
    assert fingerprint(tmp_path / "there") == fingerprint(tmp_path / "whole")


def test_two_at_once_are_kept_apart(source: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(_: int) -> None:
        if not refused:
            with pytest.raises(UsageError, match="Another process is writing") as caught:
                repacking.repack(repacking.RepackSource(source), tmp_path / "there")
            refused.append(caught.value.message)

    repacking.repack(repacking.RepackSource(source), tmp_path / "there", on_bytes=second)
    assert refused


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    status = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(status.f_bavail * status.f_frsize - leave))
    return filler


def test_too_little_room_is_said_with_numbers_before_anything_is_repacked(source: Path, disk: Path, run: Run) -> None:
    filler = fill(disk, 10 * 2**20)
    with pytest.raises(DiskFullError, match=r"2\.\d MB are still to be repacked, .* of room, .* free") as caught:
        run(source, disk / "there")
    assert "--remove-source" in caught.value.hint
    assert not list(disk.rglob("*.bank"))
    filler.unlink()
    run(source, disk / "there")


def test_a_disk_that_fills_up_on_the_way_keeps_what_is_done_and_the_same_command_continues(
    source: Path, tmp_path: Path, disk: Path, run: Run
) -> None:
    run(source, tmp_path / "whole")
    filler: list[Path] = []

    def somebody_else_writes(_: int) -> None:
        if not filler and list(disk.glob("there/.repacking/done/*.json")):
            filler.append(fill(disk, 100_000))

    with pytest.raises(DiskFullError, match=r"is full: .* are free") as caught:
        repacking.repack(
            repacking.RepackSource(source), disk / "there", remove_source=True, on_bytes=somebody_else_writes
        )
    assert "the same command" in caught.value.hint
    filler[0].unlink()
    run(source, disk / "there", remove_source=True, yes=True)
    assert fingerprint(disk / "there") == fingerprint(tmp_path / "whole")


def test_on_another_disk_removal_frees_nothing_so_room_for_all_is_asked(source: Path, disk: Path) -> None:
    said: list[repacking.RepackStart] = []
    repacking.repack(repacking.RepackSource(source), disk / "there", remove_source=True, on_start=said.append)
    assert said[0].needed > said[0].total


def test_a_folder_one_may_not_write_to_is_no_traceback(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dspark_models.expert_bank import repacker

    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(repacker, "write_file", refuse)
    with pytest.raises(DsparkError, match="Permission denied"):
        repacking.repack(repacking.RepackSource(source), source.with_name("there"))
