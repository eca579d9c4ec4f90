"""The npm client of OpenAI's, litellm, langchain and aider drive this server as programs do.

What asks for no skill is asked of the demo; tools and edits meet an engine that follows a script.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.conftest import KEY, Servers, Told

pytestmark = pytest.mark.clients

CLIENTS = ("npm", "litellm", "langchain")
WEATHER = "It said: Bern is sunny, Oslo is sunny"


@pytest.fixture(params=CLIENTS)
def told(request: pytest.FixtureRequest) -> Told:
    if request.param == "npm":
        npm: Told = request.getfixturevalue("npm_openai")
        return npm
    python: Told = request.getfixturevalue("python_client")(request.param)
    return python


def own_answer(servers: Servers, **settings: Any) -> dict[str, Any]:
    """What the demo says to the drivers' question, asked without any client's help."""
    asked = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "temperature": 0, **settings}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{servers.demo}/v1/chat/completions", json=asked, headers=headers, timeout=60)
    body: dict[str, Any] = answer.json()
    return body


def test_a_whole_answer_and_a_streamed_one_are_the_same(told: Told, servers: Servers) -> None:
    expected = own_answer(servers, max_tokens=24)
    assert told["whole"]["text"] == told["stream"]["text"] == expected["choices"][0]["message"]["content"]
    assert told["whole"]["reason"] == "length"


def test_tokens_are_counted_in_whole_and_streamed_answers(told: Told) -> None:
    whole, stream = told["whole"], told["stream"]
    if "tokens" in whole:
        assert whole["tokens"] == stream["tokens"] > 24
        return
    assert whole["usage"]["completion_tokens"] == 24
    assert whole["usage"]["prompt_tokens"] == stream.get("prompt_tokens", stream.get("usage", {}).get("prompt_tokens"))


@pytest.mark.parametrize("way", ["tools", "tools_streamed"])
def test_two_tools_called_at_once_are_run_and_their_results_read(told: Told, way: str) -> None:
    assert told[way] == WEATHER


def test_a_schema_is_followed(told: Told) -> None:
    assert set(told["schema"]) == {"name", "count"}
    assert len(told["schema"]["name"]) <= 8
    assert isinstance(told["schema"]["count"], int)


def test_reasoning_is_told_apart_from_the_answer(told: Told, servers: Servers) -> None:
    message = own_answer(servers, reasoning_effort="high")["choices"][0]["message"]
    reasoning = told["reasoning"]
    assert reasoning["text"] == message["content"]
    assert reasoning.get("thought", message["reasoning"]) == message["reasoning"]
    assert reasoning.get("streamed", message["reasoning"]) == message["reasoning"]
    assert reasoning.get("blocks", ["reasoning", "text"]) == ["reasoning", "text"]
    assert reasoning.get("tokens", 1) > 0


ERRORS = {
    "npm": {
        "context": ("BadRequestError", 400),
        "model": ("NotFoundError", 404),
        "key": ("AuthenticationError", 401),
        "value": ("BadRequestError", 400),
    },
    "litellm": {
        "context": ("ContextWindowExceededError", 400),
        "model": ("NotFoundError", 404),
        "key": ("AuthenticationError", 401),
        "value": ("BadRequestError", 400),
    },
    "langchain": {
        "context": ("OpenAIContextOverflowError", 400),
        "model": ("OpenAIModelNotFoundError", 404),
        "key": ("OpenAIAuthenticationError", 401),
        "value": ("OpenAIInvalidRequestError", 400),
    },
}


def test_every_error_is_the_clients_own_kind_for_it(told: Told, request: pytest.FixtureRequest) -> None:
    expected = ERRORS[request.node.callspec.params["told"]]
    assert {name: (error["kind"], error["status"]) for name, error in told["errors"].items()} == expected


def test_an_answer_that_is_no_longer_read_is_stopped(told: Told) -> None:
    assert (told["cancelled_after"], told["cancelled"]) == (5, 1)


def test_the_npm_client_knows_a_stop_string_a_prefix_and_responses(npm_openai: Told, servers: Servers) -> None:
    text = npm_openai["whole"]["text"]
    assert npm_openai["stop"] == {"text": text[:2], "stopped_by": text[2:4]}
    whole = own_answer(servers)["choices"][0]["message"]["content"]
    assert npm_openai["continued"] == npm_openai["responses"]["whole"] == npm_openai["responses"]["streamed"] == whole
    assert npm_openai["models"] == ["dspark-demo"]
    assert npm_openai["errors"]["context"]["code"] == "context_length_exceeded"
    assert npm_openai["errors"]["context"]["param"] == "messages"
    assert npm_openai["errors"]["value"]["param"] == "temperature"


def test_litellm_speaks_anthropics_protocol_too(python_client: Callable[[str], Told]) -> None:
    told = python_client("litellm")
    assert told["anthropic"] == told["whole"]["text"]


@pytest.mark.parametrize("streamed", ["--stream", "--no-stream"])
def test_aider_edits_a_file_and_commits_it(
    binaries: Callable[[str], Path],
    servers: Servers,
    quiet_environment: dict[str, str],
    tmp_path: Path,
    streamed: str,
) -> None:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environment = {**quiet_environment, **who}

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    file = tmp_path / "apples.py"
    file.write_text("def apples():\n    return 41\n")
    for arguments in (("init", "-q"), ("add", "apples.py"), ("commit", "-q", "-m", "First")):
        run("git", *arguments)
    address = ("--model", "openai/dspark-demo", "--openai-api-base", f"{servers.script}/v1", "--openai-api-key", KEY)
    quiet = ("--yes-always", "--no-check-update", "--no-show-release-notes", "--analytics-disable", "--no-pretty")
    how = ("--edit-format", "diff", "--no-show-model-warnings", streamed, "--message", "There are 42 apples.")
    printed = run(str(binaries("aider") / "aider"), *address, *quiet, *how, file.name)
    assert "Applied edit to apples.py" in printed
    assert file.read_text() == "def apples():\n    return 42\n"
    assert run("git", "log", "--format=%s").splitlines() == ["Count the apples right", "First"]
