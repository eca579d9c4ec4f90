from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from dspark_kernels.dispatch import OPS
from dspark_local.commands.console import console
from dspark_local.doctor import report as reporting
from dspark_local.doctor.as_json import report_object
from dspark_local.doctor.extras import read_extras
from dspark_local.doctor.findings import find
from dspark_local.doctor.hub import read_hub, without_credentials
from dspark_local.doctor.page import page
from dspark_local.doctor.privacy import private_scrubber
from dspark_local.doctor.report import Model, Report, gather
from dspark_local.doctor.system import read_system
from dspark_local.hardware.facts import Gpu

TOKEN = "hf_PlantedPlantedPlantedPlanted12"
HOST = "planted-host-name"


MODELS = (Model("deepseek-v4-flash", 159_617_000_000, "complete and verified"),)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with everything in it that a report could give away."""
    home = tmp_path / "home" / "planted_user"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "planted_user")
    monkeypatch.setenv("DSPARK_HOME", str(home / "state"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{HOST}.lan")
    return home


def look(home: Path, models: Sequence[Model] = MODELS) -> Report:
    return gather(lambda: home / "cache", lambda: models, measure=False)


def text_of(report: Report, columns: int = 80) -> str:
    screen = Console(width=columns, force_terminal=False, highlight=False)
    with screen.capture() as captured:
        for part in page(report, find(report)):
            screen.print(part)
    return captured.get()


def test_json_holds_neither_home_nor_token_nor_user_nor_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", f"http://someone:password1@{HOST}:8080/mirror?token=secret")
    leaking = (Model(f"/media/planted_user/{HOST}/m", 1, f"broken: {TOKEN} in {home}/x"),)
    report = look(home, leaking)
    text = json.dumps(report_object(report, find(report)))
    for private in (str(home), TOKEN, "planted_user", HOST, "password1", "someone", "secret"):
        assert private not in text, private
    value = json.loads(text)
    assert value["hub"]["endpoint"] == "http://HOST:8080/mirror"
    assert value["hub"]["has_token"] is True
    assert value["hub"]["cache_folder"] == "~/cache"
    assert value["disk"]["path"] == "~/cache"
    assert value["models"] == [{"name": "/media/USER/HOST/m", "nbytes": 1, "state": "broken: *** in ~/x"}]


def test_the_page_keeps_the_same_secrets(home: Path) -> None:
    text = text_of(look(home, (Model("m", 1, f"{TOKEN} {home}/x"),)))
    assert TOKEN not in text
    assert str(home) not in text


def test_json_says_what_the_system_itself_says(home: Path) -> None:
    report = look(home)
    value: dict[str, Any] = json.loads(json.dumps(report_object(report, find(report))))
    assert list(value) == [
        "system",
        "gpus",
        "nvidia_driver",
        "cpu",
        "memory",
        "disk",
        "not_measured",
        "torch",
        "extras",
        "kernels",
        "hub",
        "models",
        "findings",
    ]
    import torch

    assert value["system"]["python"] == platform.python_version()
    assert value["memory"]["total_bytes"] <= psutil.virtual_memory().total
    assert value["torch"]["version"] == torch.__version__
    assert [kernel["op"] for kernel in value["kernels"]] == list(OPS)
    assert {extra["name"] for extra in value["extras"]} >= {"bitsandbytes", "llama-cpp-python"}
    assert value["models"][0]["nbytes"] == 159_617_000_000


def test_an_absent_extra_comes_with_the_command_that_adds_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert [extra.command for extra in read_extras()] == [
        f"pip install 'dspark-local[{e}]'" for e in ("gpu", "bnb", "llama")
    ]


def test_the_extras_named_are_those_of_the_package() -> None:
    assert {"gpu", "bnb", "llama"} <= set(importlib.metadata.metadata("dspark-local").get_all("Provides-Extra") or [])


@pytest.mark.parametrize("columns", [80, 60])
def test_the_page_fits_its_columns(home: Path, columns: int) -> None:
    report = look(home)
    hardware = report.survey.hardware  # type: ignore[union-attr]
    card = Gpu("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "nvidia", (12, 0), 96 * 2**30, 90 * 2**30, 1.7e12)
    crowded = replace(report.survey, hardware=replace(hardware, gpus=(card,)), usable_gpus=1)  # type: ignore[type-var]
    text = text_of(replace(report, survey=crowded), columns)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= columns
    assert len(text.splitlines()) < (60 if columns == 80 else 80)
    assert "deepseek-v4-flash, 159.6 GB, complete and verified" in " ".join(text.split())


@pytest.mark.parametrize("part", ["survey", "read_system", "read_torch_build", "read_hub", "read_extras", "_kernels"])
def test_one_part_that_fails_is_a_line_and_not_the_end(home: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the driver is in a bad mood")

    monkeypatch.setattr(reporting, part, fail)
    report = look(home)
    findings = find(report)
    assert findings[0].code == "probe_failed"
    assert "the driver is in a bad mood" in findings[0].text
    assert "the driver is in a bad mood" in " ".join(text_of(report).split())
    json.dumps(report_object(report, findings))


def test_a_store_that_cannot_be_read_is_a_line(home: Path) -> None:
    def fail() -> Sequence[Model]:
        raise PermissionError(13, "Permission denied", str(home / "cache"))

    report = gather(lambda: home / "cache", fail, measure=False)
    assert report.models == ()
    assert "Permission denied" in find(report)[0].text


def test_a_cache_that_is_a_file_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("")
    assert read_hub(tmp_path / "hub").cache_error == "it is no folder"
    assert read_hub(tmp_path / "new").cache_error == ""


def test_a_state_folder_that_is_read_only_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere, so no mode would do
    assert read_system().state_error == "it is read-only"


def test_a_state_folder_that_cannot_be_made_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("DSPARK_HOME", str(home / "file" / "state"))
    assert read_system().state_error == "Not a directory"


def test_the_address_of_a_mirror_loses_its_password() -> None:
    assert without_credentials("https://me:pw@mirror.example:8443/hf?key=1#x") == "https://mirror.example:8443/hf"


def test_scrubbing_keeps_keys_numbers_and_lookalikes(home: Path) -> None:
    scrub = private_scrubber()
    value = {"home": [1, None, True, f"{home}-backup", f"{home}/a", f"my{HOST}", HOST.upper()]}
    assert scrub(value)["home"][:3] == [1, None, True]
    assert scrub(f"{home}/a") == "~/a"
    assert scrub(str(home)) == "~"
    assert scrub(f"my{HOST}") == f"my{HOST}"


def test_a_token_that_is_not_this_persons_is_removed_by_its_looks(home: Path) -> None:
    assert private_scrubber()("401 for hf_SomebodyElses1234, retried") == "401 for ***, retried"


def run_doctor(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import typer; from dspark_local.commands.doctor import doctor; typer.run(doctor)"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "HF_HOME": str(home / "hf"), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_in_a_pipe_there_is_no_colour_and_the_exit_code_says_whether_a_problem_stands(home: Path) -> None:
    page_run = run_doctor(home, "--quick")
    assert "\x1b" not in page_run.stdout + page_run.stderr
    assert max(map(len, page_run.stdout.splitlines())) <= 80
    assert "Traceback" not in page_run.stderr
    json_run = run_doctor(home, "--quick", "--json")
    problems = [f for f in json.loads(json_run.stdout)["findings"] if f["severity"] == "problem"]
    assert page_run.returncode == json_run.returncode == (1 if problems else 0)


def test_a_state_folder_that_cannot_be_used_makes_the_exit_code_1(home: Path) -> None:
    (home / "file").write_text("")
    done = run_doctor(home, "--json", "--quick", DSPARK_HOME=str(home / "file"))
    assert done.returncode == 1
    findings = {finding["code"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "~/file" in findings["state_not_writable"]["text"]


def test_no_color_leaves_no_colour_where_a_terminal_is_forced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = replace(look(home), failures=("The hub could not be looked at: OSError",))

    def printed() -> str:
        screen = console(io.StringIO())
        with screen.capture() as captured:
            for part in page(report, find(report)):
                screen.print(part)
        return captured.get()

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1;31m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in printed()
    assert "\x1b[33m" not in printed()


def test_models_of_the_real_store_are_listed(home: Path) -> None:
    blob = b'{"model_type": "deepseek_v4"}'
    digest = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = home / "hf/hub/models--deepseek-ai--DeepSeek-V4-Flash"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "blobs" / digest).write_bytes(blob)
    (repository / "refs/main").write_text(commit)
    (repository / f"snapshots/{commit}/config.json").symlink_to(f"../../blobs/{digest}")
    done = run_doctor(home, "--quick", "--json")
    (model,) = json.loads(done.stdout)["models"]
    assert model["name"] == "deepseek-v4-flash"
    assert model["state"].startswith("incomplete")
