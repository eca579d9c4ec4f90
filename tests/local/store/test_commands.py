from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dspark_local.catalog.catalog import entries
from dspark_local.commands.list_models import list_models
from dspark_local.commands.path import path
from dspark_local.commands.remove import remove
from dspark_local.commands.verify import verify
from dspark_local.errors import (
    CheckpointError,
    DsparkError,
    IntegrityError,
    ModelNotFoundError,
    UsageError,
)
from tests.local.store.caches import FLASH, bytes_in, model_files, put, weights
from tests.local.store.test_installed import write_own_folder

NAME = "deepseek-v4-flash-0731"


class CommandLine:
    """The four commands as the program has them; errors come out as they are."""

    def __init__(self) -> None:
        self.app = typer.Typer()
        for name, function in {"list": list_models, "rm": remove, "verify": verify, "path": path}.items():
            self.app.command(name)(function)

    def __call__(self, *arguments: str, columns: int | None = None, exit_code: int = 0) -> str:
        environment = {"COLUMNS": None if columns is None else str(columns), "NO_COLOR": None}
        result = CliRunner().invoke(self.app, list(arguments), env=environment)
        if isinstance(result.exception, DsparkError | AssertionError | TypeError):
            raise result.exception
        assert result.exit_code == exit_code, result.exception
        return result.stdout


@pytest.fixture
def command() -> CommandLine:
    return CommandLine()


def flip_a_byte(file: Path) -> None:
    """As a bad disk does it: neither the length nor the time of the file changes."""
    blob = file.resolve()
    state = blob.stat()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    os.utime(blob, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_an_empty_list_says_what_to_do_next(hub_cache: Path, command: CommandLine) -> None:
    shown = command("list")
    assert "no model on this computer" in shown
    assert f"dspark-local pull {NAME}" in shown
    assert re.search(r"\d \w?B free in ", shown)


def test_the_list_shows_size_state_and_draft_within_80_columns(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    write_own_folder("repacked", {p: c for p, c in model_files().items() if p != "README.md"})
    put(hub_cache, "Qwen/Qwen3-4B", {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": weights("x")})
    shown = command("list", columns=80)
    lines = shown.splitlines()
    assert lines[0].split() == ["name", "size", "state", "draft"]
    assert all(len(line) <= 80 for line in lines[:-1])
    size = sum(map(len, model_files().values()))
    assert lines[1].split("  ")[0] == NAME
    assert f"{size / 1000:.1f} kB" in lines[1]
    assert "complete, not verified" in lines[1]
    assert lines[1].endswith("inside")
    assert lines[2].startswith(f"{NAME} (repacked)")
    assert lines[3].endswith("missing")


def test_no_colour_reaches_a_pipe(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    assert "\x1b" not in command("list") + command("list", "--available")


def test_the_list_as_json_names_every_fact(hub_cache: Path, command: CommandLine) -> None:
    folder = put(hub_cache, FLASH, model_files())
    shown = json.loads(command("list", "--json"))
    (model,) = shown["models"]
    assert (model["name"], model["path"], model["state"], model["draft"]) == (NAME, str(folder), "unverified", "inside")
    assert model["bytes"] == sum(map(len, model_files().values()))
    assert shown["free_bytes"] > 0


@pytest.mark.parametrize("columns", [80, 100])
def test_what_is_available_fits_the_screen_and_is_honest(hub_cache: Path, command: CommandLine, columns: int) -> None:
    shown = command("list", "--available", columns=columns)
    assert all(len(line) <= columns for line in shown.splitlines())
    rows = {line.split()[0]: line for line in shown.splitlines() if line}
    assert rows[NAME].split() == [NAME, "166.9", "GB", "8", "GiB", "64", "GiB", "MIT", "yes"]
    assert rows["qwen3-4b"].endswith("not yet")
    assert "> 23.9 GB" in rows["gemma4-12b"]
    assert "bundled" in rows["demo"]


@pytest.mark.parametrize("columns", [60, 70])
def test_a_narrow_screen_keeps_every_name_of_the_catalog_in_one_piece(
    hub_cache: Path, command: CommandLine, columns: int
) -> None:
    shown = command("list", "--available", columns=columns)
    assert all(len(line) <= columns for line in shown.splitlines())
    assert {entry.name for entry in entries()} <= {line.split()[0] for line in shown.splitlines() if line}


def test_what_is_available_as_json_is_the_catalog(hub_cache: Path, command: CommandLine) -> None:
    shown = json.loads(command("list", "--available", "--json"))
    flash = next(model for model in shown["models"] if model["name"] == NAME)
    assert flash["target"]["repo"] == FLASH
    assert flash["nbytes"] == 166_878_536_440


def test_path_prints_the_directory_and_nothing_else(hub_cache: Path, command: CommandLine) -> None:
    folder = put(hub_cache, FLASH, model_files())
    assert command("path", NAME) == f"{folder}\n"
    assert command("path", NAME, "--draft") == f"{folder}\n"
    with pytest.raises(ModelNotFoundError):
        command("path", "deepseek-v4-pro")


def test_verify_reads_all_and_makes_the_model_verified(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    assert f"{NAME}: 4 files are as they were recorded" in command("verify", NAME)
    assert "complete and verified" in command("list")


def test_verify_finds_a_flipped_byte_in_a_file_that_was_verified_before(hub_cache: Path, command: CommandLine) -> None:
    folder = put(hub_cache, FLASH, model_files())
    command("verify", NAME)
    flip_a_byte(folder / "model-00002-of-00002.safetensors")
    with pytest.raises(IntegrityError, match=r"1 of 4 files is not .*model-00002-of-00002\.safetensors") as caught:
        command("verify", NAME)
    assert caught.value.exit_code == 5
    assert f"dspark-local pull {NAME}" in caught.value.hint
    # What pull and run go by no longer trusts the file either.
    assert "complete, not verified" in command("list")
    with pytest.raises(IntegrityError):
        command("path", NAME)


def test_verify_looks_at_the_repacked_copy_too(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    repacked = write_own_folder("repacked", {p: c for p, c in model_files().items() if p != "README.md"})
    flip_a_byte(repacked / "config.json")
    with pytest.raises(IntegrityError, match="1 of 8 files") as caught:
        command("verify", NAME)
    assert "--only repacked" in caught.value.hint


def test_verify_says_when_files_are_missing(hub_cache: Path, command: CommandLine) -> None:
    files = model_files()
    del files["model-00002-of-00002.safetensors"]
    put(hub_cache, FLASH, files)
    with pytest.raises(CheckpointError, match="incomplete: ") as caught:
        command("verify", NAME)
    assert "dspark-local pull" in caught.value.hint
    assert json.loads(command("verify", NAME, "--json", exit_code=5))["complete"] is False


def test_verify_as_json_is_one_document_that_names_what_is_wrong(hub_cache: Path, command: CommandLine) -> None:
    folder = put(hub_cache, FLASH, model_files())
    shown = json.loads(command("verify", NAME, "--json"))
    assert (shown["checked"], shown["wrong"], shown["complete"]) == (4, [], True)
    flip_a_byte(folder / "config.json")
    found = json.loads(command("verify", NAME, "--json", exit_code=5))
    assert found["wrong"] == [str(folder / "config.json")]


def test_rm_asks_and_does_nothing_without_a_yes(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    before = bytes_in(hub_cache)
    with pytest.raises(UsageError, match="Nobody is there") as caught:
        command("rm", NAME)
    assert "--yes" in caught.value.hint
    assert bytes_in(hub_cache) == before


def test_a_no_to_rm_removes_nothing_and_says_so(
    hub_cache: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub_cache, FLASH, model_files())
    before = bytes_in(hub_cache)
    monkeypatch.setattr("dspark_local.commands.remove._agrees", lambda question: False)
    assert command("rm", NAME, exit_code=1).endswith("Nothing was removed.\n")
    assert bytes_in(hub_cache) == before


def test_rm_frees_what_it_says(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    before = bytes_in(hub_cache)
    assert f"{before / 1000:.1f} kB freed" in command("rm", NAME, "--yes")
    assert bytes_in(hub_cache) == 0


def test_rm_as_json_gives_the_bytes(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    before = bytes_in(hub_cache)
    assert json.loads(command("rm", NAME, "--yes", "--json"))["freed_bytes"] == before
    with pytest.raises(UsageError):
        command("rm", NAME, "--json")


def test_rm_of_one_copy_leaves_the_others(hub_cache: Path, command: CommandLine) -> None:
    put(hub_cache, FLASH, model_files())
    repacked = write_own_folder("repacked", model_files())
    command("rm", NAME, "--yes", "--only", "cache")
    assert bytes_in(hub_cache) == 0
    assert (repacked / "config.json").is_file()
    with pytest.raises(UsageError, match="--only"):
        command("rm", NAME, "--yes", "--only", "everything")


@pytest.mark.parametrize("name", ["./mine", "demo"])
def test_what_we_did_not_fetch_is_neither_removed_nor_verified(
    hub_cache: Path, command: CommandLine, name: str
) -> None:
    with pytest.raises(UsageError):
        command("rm", name, "--yes")
    with pytest.raises(UsageError):
        command("verify", name)


@pytest.mark.parametrize("name", ["rm", "verify", "path"])
def test_a_model_that_is_not_here_and_a_mistyped_name_are_told_apart(
    hub_cache: Path, command: CommandLine, name: str
) -> None:
    with pytest.raises(ModelNotFoundError, match="is not on this computer"):
        command(name, "deepseek-v4-pro")
    with pytest.raises(ModelNotFoundError) as caught:
        command(name, "deepseek-v4-flsh")
    assert "Did you mean" in caught.value.hint


def test_a_cache_that_cannot_be_read_is_an_error_in_words(
    hub_cache: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    file = hub_cache / "a file"
    file.touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(file))
    with pytest.raises(CheckpointError, match=r"a file cannot be read: not a directory\.") as caught:
        command("list")
    assert "HF_HOME" in caught.value.hint


def test_what_cannot_be_removed_is_named(
    hub_cache: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(hub_cache, FLASH, model_files())

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)  # root may remove everything, so the system is asked to refuse
    with pytest.raises(DsparkError, match=r"models--deepseek-ai.* could not be removed: permission denied\."):
        command("rm", NAME, "--yes")
    assert caplog.text == ""
