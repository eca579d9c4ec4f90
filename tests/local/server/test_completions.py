"""The older completions on the native backend, whose model recites: after a question mark it says its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from dspark_local.native import NativeBackend
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.worker import EngineWorker
from tests.local.scripted import scripted_backend

PATH = "/v1/completions"
ANSWER = "Twelve times seven is 84."


@pytest.fixture
def backend(tmp_path: Path) -> NativeBackend:
    return scripted_backend(tmp_path, ANSWER)


@pytest.fixture
def client(tmp_path: Path, serve_on_socket: Callable[..., Any]) -> openai.OpenAI:
    server = serve_on_socket(lambda progress: scripted_backend(tmp_path, ANSWER))
    while server.worker.state == "loading":
        pass
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)


def ask(client: openai.OpenAI, **extra: Any) -> Any:
    return client.completions.create(**{"model": "scripted", "prompt": "12 * 7?", "max_tokens": 100} | extra)


def test_a_prompt_is_continued_as_it_stands(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (ANSWER, "stop")
    assert answer.usage.prompt_tokens == len("12 * 7?")  # this tokenizer knows bytes alone, and nothing is added
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model_extra["dspark"]["stats"]["passes"] > 0


def test_token_ids_give_what_their_text_gives(client: openai.OpenAI, backend: NativeBackend) -> None:
    ids = backend.tokenize("12 * 7?")
    texts = [ask(client, prompt=prompt).choices[0].text for prompt in ("12 * 7?", ["12 * 7?"], ids, [ids])]
    assert texts == [ANSWER] * 4


def test_a_stream_joins_to_the_answer_and_ends_with_usage(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == ANSWER
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 7)
    assert len({chunk.id for chunk in chunks}) == 1


def test_stop_strings_and_limits_end_the_answer(client: openai.OpenAI) -> None:
    assert ask(client, stop=[" is"]).choices[0].text == "Twelve times seven"
    cut = ask(client, max_tokens=6).choices[0]
    assert (cut.text, cut.finish_reason) == ("Twelve", "length")
    assert ask(client, max_tokens=openai.omit).usage.completion_tokens == 16  # OpenAI's default here


@pytest.mark.parametrize(
    ("extra", "code", "param"),
    [
        ({"echo": True}, "unsupported_parameter", "echo"),
        ({"suffix": "end"}, "unsupported_parameter", "suffix"),
        ({"n": 2}, "unsupported_value", "n"),
        ({"best_of": 3}, "unsupported_value", "best_of"),
        ({"prompt": ["one?", "two?"]}, "unsupported_value", "prompt"),
        ({"prompt": ""}, "invalid_value", "prompt"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": [[]]}, "invalid_value", "prompt"),
        ({"logprobs": 21}, "invalid_value", "logprobs"),
        ({"temperature": 101}, "invalid_value", "temperature"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ],
)
def test_what_is_not_done_is_refused_with_its_field(
    client: openai.OpenAI, extra: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **extra)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert param in refused.value.message


def test_ids_that_the_model_lacks_and_prompts_that_do_not_fit_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Token 1 is 9999"):
        ask(client, prompt=[5, 9999])
    with pytest.raises(openai.BadRequestError) as too_long:
        ask(client, prompt="?" * 600, stream=True)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        ask(client, model="davinci")


@pytest.mark.parametrize("prompt", [None, 3, {"a": 1}, [-1], [1.5], ["?", 3]])
async def test_a_prompt_that_is_none_is_a_400(http: httpx.AsyncClient, prompt: Any) -> None:
    response = await http.post(PATH, json={"prompt": prompt})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith("prompt")


@pytest.fixture
async def http(backend: NativeBackend, start_worker: Callable[..., EngineWorker]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(start_worker(backend), Access(None))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_a_stream_ends_with_done(http: httpx.AsyncClient) -> None:
    text = (await http.post(PATH, json={"prompt": "?", "stream": True, "max_tokens": 50})).text
    *chunks, done = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    assert all(json.loads(chunk)["object"] == "text_completion" for chunk in chunks)
