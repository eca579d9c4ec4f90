"""`dspark-local run` in this process, on a model that recites."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from dspark_local import cli
from dspark_local.commands.report import TraceFile, summary
from dspark_local.events import GenerationStats, RoundDone, SpeculationState
from dspark_local.native import NativeBackend
from tests.local.scripted import scripted_backend

ANSWER = "Twelve times seven is 84."


class Terminal:
    """Calls the program and reads what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> int:
        code = cli._run(list(arguments))
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Pipe:
    """Standard input that is no terminal."""

    def __init__(self, text: str | bytes) -> None:
        self.buffer = io.BytesIO(text.encode() if isinstance(text, str) else text)

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    backend = scripted_backend(tmp_path)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    monkeypatch.setattr("sys.stdin", Pipe(""))
    monkeypatch.delenv("DSPARK_DEBUG", raising=False)
    return Terminal(capsys)


def test_the_answer_goes_to_stdout_and_nothing_else_does(terminal: Terminal) -> None:
    assert terminal("run", "12 * 7?", "--stats") == 0
    assert terminal.out == ANSWER + "\n"
    assert "accepted length" in terminal.err
    assert "demo" in terminal.err


def test_a_piped_prompt_and_an_argument_are_joined_by_an_empty_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    for piped, argument in (("some text\n", ["Sum?"]), ("", ["Sum?\n\nsome text"]), ("Sum?\n\nsome text\n", [])):
        monkeypatch.setattr("sys.stdin", Pipe(piped))
        assert terminal("run", *argument, "--json", "--max-tokens", "3") == 0
        lengths.append(terminal.json["stats"]["prompt_tokens"])
    # The argument comes first, so all three are the same prompt.
    assert len(set(lengths)) == 1


def test_json_prints_one_object_with_the_figures(terminal: Terminal) -> None:
    assert terminal("run", "12 * 7?", "--json", "--spec", "static:5") == 0
    result = terminal.json
    assert result["text"] == ANSWER
    assert result["reasoning"] == ""
    assert result["finish_reason"] == "stop"
    assert len(result["token_ids"]) == len(ANSWER) + 1
    stats = result["stats"]
    assert stats["passes"] == -(-len(ANSWER) // 6)
    assert stats["accepted_length"] == pytest.approx(len(ANSWER) / stats["passes"])
    assert stats["tokens_per_second"] > 0


def test_thinking_is_kept_out_of_stdout(terminal: Terminal) -> None:
    assert terminal("run", "12 * 7?", "--think", "--show-thinking") == 0
    assert terminal.out == ANSWER + "\n"
    assert "Let me see." in terminal.err
    assert terminal("run", "12 * 7?", "--think") == 0
    assert "Let me see." not in terminal.err


def test_the_trace_has_one_line_a_round(terminal: Terminal, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    assert terminal("run", "12 * 7?", "--json", "--spec", "static:3", "--trace", str(trace)) == 0
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert len(lines) == terminal.json["stats"]["passes"]
    figures = {"position", "anchor", "draft_ids", "confidences", "verified", "accepted"}
    assert set(lines[0]) == figures | {"source", "draft_seconds", "verify_seconds"}
    assert lines[0]["position"] == terminal.json["stats"]["prompt_tokens"]
    assert lines[0]["anchor"] == terminal.json["token_ids"][0]
    assert all(len(line["confidences"]) == len(line["draft_ids"]) == 5 for line in lines[:-1])
    assert [line["verified"] for line in lines[:2]] == [3, 3]


def test_the_trace_tells_where_drafts_came_from_and_what_they_cost(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with TraceFile(path) as trace:
        trace.write(RoundDone(7, 3, (1, 2), (0.9, 0.8), 2, 1, 9, "lookup", 0.25, 0.5))
    assert json.loads(path.read_text()) == {
        "position": 7,
        "anchor": 3,
        "draft_ids": [1, 2],
        "confidences": [0.9, 0.8],
        "verified": 2,
        "accepted": 1,
        "source": "lookup",
        "draft_seconds": 0.25,
        "verify_seconds": 0.5,
    }


def test_the_summary_says_how_speculation_fares() -> None:
    fares = SpeculationState("on", verified=1.6, block_size=5, gain=0.18)
    assert "\nspeculation      on, 2 of 5, +18 %\n" in summary(GenerationStats(speculation=fares))
    assert "\nspeculation      off\n" in summary(GenerationStats())


def test_json_carries_the_state_of_speculation(terminal: Terminal) -> None:
    assert terminal("run", "12 * 7?", "--json", "--spec", "off") == 0
    assert terminal.json["stats"]["speculation"]["phase"] == "off"


def test_token_ids_from_a_file_are_the_whole_prompt(terminal: Terminal, tmp_path: Path) -> None:
    tokens = tmp_path / "ids.json"
    tokens.write_text(json.dumps([0, 9, 5]))  # 5 closes the thinking: the answer follows
    assert terminal("run", "--tokens", str(tokens), "--json") == 0
    assert terminal.json["text"] == ANSWER
    assert terminal.json["stats"]["prompt_tokens"] == 3


def test_raw_text_is_continued_behind_the_start_token(terminal: Terminal) -> None:
    assert terminal("run", "12 * 7?", "--raw", "--json") == 0
    assert terminal.json["text"] == ANSWER
    assert terminal.json["stats"]["prompt_tokens"] == 1 + len("12 * 7?")


def test_sampling_settings_reach_the_engine(terminal: Terminal) -> None:
    assert terminal("run", "?", "--stop", "zzz", "--stop", "times", "--seed", "4", "--temperature", "0.5") == 0
    assert terminal.out == "Twelve \n"
    assert terminal("run", "?", "--max-tokens", "4", "--ignore-eos", "--json") == 0
    assert terminal.json["finish_reason"] == "length"
    assert terminal.json["text"] == "Twel"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no prompt"),
        (["   "], "There is no prompt"),
        (["hi", "--spec", "static:x"], "static:x"),
        (["hi", "--temperature", "-1"], "temperature is -1"),
        (["hi", "--top-p", "0"], "top_p is 0"),
        (["hi", "--max-tokens", "0"], "max_tokens is 0"),
        (["hi", "--stop", ""], "stop string is empty"),
        (["--tokens", "{tmp}/none.json"], "cannot be read"),
        (["--tokens", "{tmp}/broken.json"], "is not JSON"),
        (["--tokens", "{tmp}/object.json"], "no list of token ids"),
        (["--tokens", "{tmp}/empty.json"], "empty list"),
        (["--tokens", "{tmp}/large.json"], "Token 1 is 99999"),
        (["--tokens", "{tmp}/large.json", "hi"], "--tokens is the whole prompt"),
        (["hi", "--raw", "--system", "x"], "--raw uses no chat encoding"),
        (["hi", "--trace", "{tmp}/none/trace.jsonl"], "cannot be written"),
        (["x" * 600], "the context holds 512"),
    ],
)
def test_a_wrong_request_is_one_clear_message(
    terminal: Terminal, tmp_path: Path, arguments: list[str], message: str
) -> None:
    files = {"broken": "[1, 2", "object": '{"a": 1}', "empty": "[]", "large": "[1, 99999]"}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(content)
    assert terminal("run", *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments)) == 2
    assert message in terminal.err
    assert terminal.err.splitlines()[-1].startswith(("error: ", "hint: "))
    assert "Traceback" not in terminal.err
    assert terminal.out == ""


def test_with_json_an_error_is_an_object_too(terminal: Terminal) -> None:
    assert terminal("run", "hi", "--json", "--spec", "often") == 2
    assert terminal.json["error"]["code"] == "invalid_value"
    assert "often" in terminal.json["error"]["message"]


def test_an_unknown_option_is_a_usage_error(terminal: Terminal) -> None:
    assert terminal("run", "hi", "--no-such-option") == 2
    assert "--no-such-option" in terminal.err


def test_bytes_that_are_no_text_are_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"\xff\xfe\x00"))
    assert terminal("run") == 2
    assert "UTF-8" in terminal.err


def test_a_defect_is_one_line_unless_debugging(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(NativeBackend, "load", fail)
    assert terminal("run", "hi") == 1
    assert "ZeroDivisionError: by nothing" in terminal.err
    assert "--debug" in terminal.err
    monkeypatch.setenv("DSPARK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        terminal("run", "hi")


def test_a_missing_draft_is_named_when_it_is_asked_for(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = scripted_backend(tmp_path, with_draft=False)
    monkeypatch.setattr(NativeBackend, "load", classmethod(lambda cls, *_, **__: backend))
    assert terminal("run", "12 * 7?", "--spec", "static:2") == 2
    assert "holds none" in terminal.err
    assert terminal("run", "12 * 7?", "--stats") == 0
    assert "speculation is off" in terminal.err


def test_score_prints_perplexity_and_every_logprob(terminal: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("?" + ANSWER)
    assert terminal("score", str(text), "--json") == 0
    assert terminal.json["logprobs"][0] is None
    assert len(terminal.json["logprobs"]) == len(ANSWER) + 1
    assert terminal.json["perplexity"] == pytest.approx(1.0)
    assert terminal("score", str(text)) == 0
    assert terminal.out == "perplexity  1.0000\n"
    assert terminal("score") == 2
    assert "takes a text file or --tokens" in terminal.err
    tokens = tmp_path / "one.json"
    tokens.write_text("[7]")
    assert terminal("score", "--tokens", str(tokens), "--json") == 0
    assert terminal.json == {"token_ids": [7], "logprobs": [None], "perplexity": None}
