"""`dspark-local plan` as a user sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dspark_local.commands.plan import plan
from dspark_local.errors import CheckpointError, HubError, ModelNotFoundError, UsageError
from tests.models import configs
from tests.models.checkpoints import random_checkpoint

DESKTOP = ["--gpu", "rtx 4090", "--ram", "128GiB", "--ram-bandwidth", "72GB/s", "--disk-read", "6GB/s"]
SMALL = ["--vram", "6GiB", "--ram", "32GiB"]


@pytest.fixture(autouse=True)
def _nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))


app = typer.Typer()
app.command()(plan)


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", **environment})


def as_json(*arguments: str) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code in (0, 6), result.output
    return json.loads(result.stdout)


def test_the_verdict_comes_first_and_everything_stays_within_80_columns() -> None:
    for machine, word, code in (
        (DESKTOP, "Fits", 0),
        (SMALL, "Does not fit", 6),
        (["--vram", "0", *SMALL[2:]], "Tight", 0),
    ):
        result = call("deepseek-v4-flash-dspark", *machine)
        lines = result.stdout.splitlines()
        assert result.exit_code == code
        assert lines[0].startswith(f"{word}: deepseek-v4-flash-dspark on ")
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 40
        assert not any("\x1b" in line or line != line.rstrip() for line in lines)


def test_the_page_says_that_this_release_is_slower_than_the_estimate() -> None:
    output = " ".join(call("deepseek-v4-flash-dspark", *DESKTOP).stdout.split())
    assert "This release computes in plain torch and is slower." in output
    assert "chat 17.8 (11.6 to 24)" in output
    assert "give or take 35 %" in output


def test_a_model_without_an_engine_is_planned_and_said_to_be_without() -> None:
    output = " ".join(call("qwen3-4b", *DESKTOP).stdout.split())
    assert "has no engine that runs it yet" in output
    assert "This release computes in plain torch" not in output
    assert as_json("qwen3-4b", *DESKTOP)["runs"] is False


def test_memory_without_a_unit_is_not_taken_for_bytes() -> None:
    for option in ("--vram", "--ram"):
        result = call("deepseek-v4-flash-dspark", option, "12")
        assert isinstance(result.exception, UsageError)
        assert "12 bytes" in str(result.exception)
        assert "12GiB" in result.exception.hint


def test_a_plan_that_does_not_fit_says_by_how_much_and_what_does() -> None:
    output = call("deepseek-v4-flash-dspark", *SMALL).stdout
    assert "The card lacks 3.58 GiB" in output
    assert "LACKING" in output
    assert "--cpu-only" in output
    assert "No speed to expect" in output


def test_json_is_one_object_of_bytes_and_tokens_a_second() -> None:
    made = as_json("deepseek-v4-flash-dspark", *DESKTOP)
    assert made["verdict"] == "fits"
    vram, reserve = made["placement"]["vram"], made["reserve"]["vram"]
    assert sum(vram.values()) + reserve + made["left_over"]["vram"] == 24 * 2**30
    assert made["disk"] == {"needed": 166_878_536_440, "free": None, "is_here": False}
    assert made["speed"]["plain"] == pytest.approx(17.8, abs=0.1)
    assert set(made["speed"]["speculated"]) == {"chat", "code", "math"}
    assert made["caches"].keys() == {"window", "compressed", "index", "compressor_state", "draft_context"}
    refused = as_json("deepseek-v4-flash-dspark", *SMALL)
    assert refused["speed"] is None
    assert refused["lacking"]["vram"] > 0
    assert {"kind", "title", "verdict", "vram", "ram", "plain", "chat"} == set(refused["changes"][0])


def test_options_change_what_they_name() -> None:
    with_draft, without = (as_json("deepseek-v4-flash-dspark", *DESKTOP, *more) for more in ([], ["--no-draft"]))
    assert "draft" in with_draft["placement"]["vram"]
    assert "draft" not in without["placement"]["vram"]
    long = as_json("deepseek-v4-flash-dspark", *DESKTOP, "--context", "1M")
    assert (with_draft["context"], long["context"]) == (32768, 2**20)
    assert long["placement"]["vram"]["caches"] > 20 * with_draft["placement"]["vram"]["caches"]
    wide = as_json("deepseek-v4-flash-dspark", *DESKTOP, "--dtype", "float32")
    assert wide["placement"]["vram"]["caches"] > 3 * with_draft["placement"]["vram"]["caches"]


def test_every_model_of_the_catalog_with_a_config_can_be_planned() -> None:
    from dspark_local.catalog.catalog import entries

    planned = [entry for entry in entries() if entry.config]
    assert len(planned) >= 6
    for entry in planned:
        made = as_json(entry.name, *DESKTOP)
        assert made["model"] == entry.name
        if entry.target.is_exact and entry.family == "deepseek_v4":
            assert made["disk"]["needed"] == pytest.approx(entry.nbytes, rel=1e-3)


def test_a_directory_is_planned_from_its_headers(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(configs.RELEASE, draft="mtp")
    path = checkpoint.write(tmp_path / "mine")
    made = as_json(str(path), *DESKTOP)
    assert made["model"] == "mine"
    assert made["disk"]["is_here"]
    assert made["disk"]["needed"] == sum(tensor.nbytes for tensor in checkpoint.stored.values())


def test_a_directory_that_lacks_tensors_is_refused_in_words(tmp_path: Path) -> None:
    made = random_checkpoint(configs.RELEASE, draft="dspark")
    part = {name: tensor for name, tensor in made.stored.items() if name.startswith("embed")}
    replace(made, stored=part).write(tmp_path / "part")
    error = call(str(tmp_path / "part"), *DESKTOP).exception
    assert isinstance(error, CheckpointError)
    assert "head first" in str(error)


def test_a_repository_in_the_hubs_cache_is_planned_like_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder, commit = tmp_path / "models--somebody--tiny", "0123456789abcdef0123456789abcdef01234567"
    random_checkpoint(configs.RELEASE, draft="dspark").write(folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    made = as_json("somebody/tiny", *DESKTOP)
    assert made["model"] == "tiny"
    assert made["disk"]["is_here"]


def test_mistakes_are_refused_as_what_they_are(tmp_path: Path) -> None:
    for arguments, error, words in (
        (["deepseek-v4-flsh"], ModelNotFoundError, "deepseek-v4-flsh"),
        (["somebody/something"], HubError, "cannot be reached"),
        ([str(tmp_path)], ModelNotFoundError, "config.json"),
        (["qwen3-8b-gguf"], CheckpointError, "GGUF"),
        (["deepseek-v4-flash", "--context", "2M"], UsageError, "2,097,152"),
        (["deepseek-v4-flash", "--context", "many"], UsageError, "--context"),
        (["deepseek-v4-flash", "--dtype", "int3"], UsageError, "int3"),
        (["deepseek-v4-flash", "--vram", "lots"], UsageError, "--vram"),
    ):
        result = call(*DESKTOP, *arguments)
        assert isinstance(result.exception, error), result.output
        assert words in str(result.exception)


def test_asking_for_help_loads_neither_torch_nor_rich() -> None:
    code = (
        "import sys; import dspark_local.commands.plan; "
        "print([name for name in ('torch', 'rich', 'huggingface_hub', 'dspark_models') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    # typer brings rich along by itself where it is installed.
    assert done.stdout.strip() in ("[]", "['rich']")
