"""`dspark-local connect`: what it prints and writes, read back by the parsers and the programs it is for."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dspark_local import cli
from dspark_local.connect.clients import load_clients
from dspark_local.connect.filling import ReadyFile, ServerFacts, Setup, fill
from dspark_local.connect.writing import BEGIN, END, change_of, write
from dspark_local.errors import UsageError

SERVER = ServerFacts("http://127.0.0.1:8484", "owner/v4-flash@main", 65_536, asks_for_key=False)
LOCKED = ServerFacts("http://127.0.0.1:8484/v1/", "owner/v4-flash@main", 65_536, asks_for_key=True)
SECRET = "sk-local-3c7d"
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DSPARK_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in (("HOME", ""), ("DSPARK_HOME", "state"), ("CODEX_HOME", "codex"), ("LLM_USER_PATH", "llm")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path


def connect(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["connect", *arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def setup_of(client: str, server: ServerFacts = SERVER) -> Setup:
    return fill(load_clients()[client], server)


def in_shell(setup: Setup, command: str, **env: str) -> str:
    script = setup.exports() + command
    return subprocess.run(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=True
    ).stdout


# ---- every client


@pytest.mark.parametrize("name", load_clients())
@pytest.mark.parametrize("server", [SERVER, LOCKED], ids=["open", "locked"])
def test_every_client_is_filled_in_to_the_last_placeholder(name: str, server: ServerFacts) -> None:
    setup = setup_of(name, server)
    for text in (setup.exports(), setup.run, setup.note, *(f"{file.path}{file.text}" for file in setup.files)):
        assert "[key]" not in text
        for word in ("<URL>", "<BASE_URL>", "<MODEL>", "<CONTEXT>", "<ANSWER>", "<KEY>", "<DIR>", "<HOME>", "_HOME>"):
            assert word not in text
    everything = setup.exports() + setup.note + "".join(file.text for file in setup.files)
    assert "127.0.0.1:8484" in everything or name == "opencode"
    assert "/v1/v1" not in everything


@pytest.mark.parametrize("name", load_clients())
@pytest.mark.parametrize("server", [SERVER, LOCKED], ids=["open", "locked"])
def test_every_file_is_understood_by_a_parser_of_its_format(name: str, server: ServerFacts) -> None:
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
    for file in setup_of(name, server).files:
        content = readers.get(file.path.suffix, yaml.safe_load)(file.text)
        assert "owner/v4-flash@main" in json.dumps(content)


@pytest.mark.parametrize("name", load_clients())
def test_the_key_is_named_and_never_written(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("DSPARK_API_KEY", SECRET)
    code, out, err = connect(capsys, name, "--url", UNREACHABLE, "--model", "m")
    assert code == 0
    assert SECRET not in out + err
    connect(capsys, name, "--url", UNREACHABLE, "--model", "m", "--write", "--yes")
    for path in home.rglob("*"):
        if path.is_file():
            assert SECRET not in path.read_text()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- one by one


def test_the_official_libraries_take_address_and_key_from_the_environment() -> None:
    program = """
import anthropic, openai
for client in openai.OpenAI(), anthropic.Anthropic():
    print(client.base_url, client.api_key)
"""
    exports = setup_of("anthropic").exports()
    printed = in_shell(setup_of("openai"), f"{exports}'{sys.executable}' -c '{program}'", DSPARK_API_KEY=SECRET)
    assert printed == f"http://127.0.0.1:8484/v1/ {SECRET}\nhttp://127.0.0.1:8484 {SECRET}\n"
    assert in_shell(setup_of("openai"), "echo $OPENAI_API_KEY") == "local\n"


def test_codex_gets_a_profile_of_its_own_that_speaks_responses() -> None:
    [file] = setup_of("codex", LOCKED).files
    assert (file.path, file.kind) == (Path(os.environ["CODEX_HOME"], "dspark.config.toml"), "own")
    config = tomllib.loads(file.text)
    provider = config["model_providers"][config["model_provider"]]
    assert provider["wire_api"] == "responses"
    assert provider["base_url"] == "http://127.0.0.1:8484/v1"
    assert provider["env_key"] == "DSPARK_API_KEY"
    assert config["model_context_window"] == 65_536
    assert "env_key" not in setup_of("codex").files[0].text


def test_claude_code_takes_every_model_of_its_own_from_here() -> None:
    env = in_shell(setup_of("claude-code"), "env").splitlines()
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8484" in env
    assert "ANTHROPIC_AUTH_TOKEN=local" in env
    assert "CLAUDE_CODE_ATTRIBUTION_HEADER=0" in env
    models = [line.partition("=")[2] for line in env if line.partition("=")[0].endswith("MODEL")]
    assert models == ["owner/v4-flash@main"] * 4


def test_aider_finds_its_model_and_what_fits_into_it() -> None:
    setup = setup_of("aider")
    config, metadata = (file.text for file in setup.files)
    settings = yaml.safe_load(config)
    assert settings["model-metadata-file"] == setup.files[1].path.as_posix()
    assert json.loads(metadata)[settings["model"]]["max_input_tokens"] == 65_536
    assert setup.files[0].path.as_posix() in setup.run


def test_opencode_is_pointed_at_a_file_of_ours_by_its_variable() -> None:
    setup = setup_of("opencode", LOCKED)
    [file] = setup.files
    assert setup.env["OPENCODE_CONFIG"] == file.path.as_posix()
    config = json.loads(file.text)
    provider, _, model = config["model"].partition("/")
    assert model in config["provider"][provider]["models"]
    assert config["provider"][provider]["options"] == {
        "apiKey": "{env:DSPARK_API_KEY}",
        "baseURL": "http://127.0.0.1:8484/v1",
    }


def test_the_generic_client_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = connect(capsys, "generic", "--url", UNREACHABLE, "--model", "m")
    assert "# Base URL: http://127.0.0.1:9/v1\n# Model: m\n" in out
    code, _, err = connect(capsys, "generic", "--url", UNREACHABLE, "--model", "m", "--write", "--yes")
    assert code == 2
    assert "no file" in err


# ---- what comes from a server is not trusted


@pytest.mark.parametrize(
    "model", ['a"; rm -rf ~; "', "$(id)", "a`id`", "a\nb", "a'b", "", "-x", "a b", "\\", "x" * 201]
)
def test_a_model_name_that_would_mean_something_in_a_shell_or_a_file_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="characters"):
        ServerFacts("http://127.0.0.1:8484", model, 0, asks_for_key=False)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8484", "http://x/$(id)", 'http://x"', "ftp://x", "http://x/ y", "http://a@b"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="address"):
        ServerFacts(url, "m", 0, asks_for_key=False)


# ---- writing


def a_file(path: Path, kind: Any, text: str) -> ReadyFile:
    return ReadyFile(path, kind, text)


def test_a_section_is_added_after_what_is_there_replaced_in_place_and_then_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("# mine\n- model_id: other")
    write(change_of(a_file(path, "section", "- a: 1\n")))
    assert path.read_text() == f"# mine\n- model_id: other\n{BEGIN}- a: 1\n{END}"
    path.write_text(path.read_text() + "- model_id: later\n")
    write(change_of(a_file(path, "section", "- a: 2\n")))
    assert path.read_text() == f"# mine\n- model_id: other\n{BEGIN}- a: 2\n{END}- model_id: later\n"
    assert not change_of(a_file(path, "section", "- a: 2\n")).is_needed


def test_a_section_that_lost_its_end_or_a_file_of_another_form_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    for text in (f"- a: 1\n{BEGIN}- b: 2\n", "[{model_id: x}]\n", "models:\n- x\n"):
        path.write_text(text)
        with pytest.raises(UsageError):
            change_of(a_file(path, "section", "- c: 3\n"))
        assert path.read_text() == text


def test_a_file_of_the_users_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write(change_of(a_file(path, "create", "a: 1\n")))
    assert path.read_text() == "a: 1\n"
    assert not change_of(a_file(path, "create", "a: 1\n")).is_needed
    with pytest.raises(UsageError, match="yours"):
        change_of(a_file(path, "create", "a: 2\n"))


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("- a: 1\n")
    link.symlink_to(real)
    write(change_of(a_file(link, "section", "- b: 2\n")))
    assert link.is_symlink()
    assert "- b: 2" in real.read_text()


def test_writing_shows_the_difference_first_and_nobody_to_ask_means_no(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    code, out, err = connect(capsys, "codex", "--url", UNREACHABLE, "--model", "m", "--write")
    assert code == 2
    assert '+model = "m"' in out
    assert "Add --yes" in err
    assert not (home / "codex").exists()
    code, out, _ = connect(capsys, "codex", "--url", UNREACHABLE, "--model", "m", "--write", "--yes")
    assert code == 0
    assert out.splitlines()[-2] == "  codex --profile dspark"
    _, out, _ = connect(capsys, "codex", "--url", UNREACHABLE, "--model", "m", "--write", "--yes")
    assert "Nothing to change." in out


# ---- the command


def test_without_a_client_all_are_listed_and_an_unknown_one_is_answered_with_the_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = connect(capsys)
    assert [line.split()[0] for line in out.splitlines()] == list(load_clients())
    code, _, err = connect(capsys, "emacs")
    assert code == 2
    assert "claude-code" in err


def test_a_server_that_does_not_answer_is_said_with_both_ways_out(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = connect(capsys, "codex", "--url", UNREACHABLE)
    assert code == 1
    assert "dspark-local serve" in err
    assert "--model" in err
