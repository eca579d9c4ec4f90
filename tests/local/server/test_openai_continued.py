"""OpenAI's client lets an answer go on, learns which string stopped one, and why a prompt does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.local.scripted import scripted_backend
from tests.tui.fake_engine import FakeBackend

QUESTION: Any = {"role": "user", "content": "12 * 7?"}
ANSWER = "Twelve times seven is 84."


@pytest.fixture
def client(serve_on_socket: Callable[..., Any], tmp_path: Path) -> Iterator[openai.OpenAI]:
    server = serve_on_socket(lambda progress: scripted_backend(tmp_path, context_length=2048))
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0) as client:
        while server.worker.state == "loading":
            pass
        yield client


def ask(client: openai.OpenAI, *messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="scripted", messages=[QUESTION, *messages], **more)


@pytest.mark.parametrize(
    ("mark", "body"),
    [
        ({"prefix": True}, {}),
        ({}, {"continue_final_message": True, "add_generation_prompt": False}),
        ({}, {}),
    ],
    ids=["DeepSeek", "vLLM", "unmarked"],
)
def test_a_last_message_of_the_assistant_goes_on(client: openai.OpenAI, mark: Any, body: Any) -> None:
    for content in ("Twelve", "Twelve times seven", ANSWER):
        last = {"role": "assistant", "content": content, **mark}
        whole = ask(client, last, extra_body=body)
        streamed = ask(client, last, extra_body=body, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
        assert content + whole.choices[0].message.content == content + "".join(pieces) == ANSWER
        assert whole.choices[0].finish_reason == "stop"


def test_reasoning_goes_on_where_it_was_cut(client: openai.OpenAI) -> None:
    thinks: Any = {"reasoning_effort": "high"}
    cut = {"role": "assistant", "content": "", "reasoning_content": "Let me", "prefix": True}
    message = ask(client, cut, **thinks).choices[0].message
    assert (message.reasoning_content, message.content) == (" see.", ANSWER)
    over = {"role": "assistant", "content": "Twelve", "reasoning_content": "Let me see.", "prefix": True}
    message = ask(client, over, **thinks).choices[0].message
    assert (message.content, hasattr(message, "reasoning_content")) == (" times seven is 84.", False)


@pytest.mark.parametrize(
    ("messages", "body", "words"),
    [
        ([{"role": "assistant", "content": "a"}], {"continue_final_message": False}, "ends with a message of role"),
        ([{"role": "assistant", "content": "a", "prefix": False}], {}, "ends with a message of role"),
        ([{"role": "assistant", "content": "a", "prefix": True}, QUESTION], {}, "not the last"),
        ([{"role": "user", "content": "a", "prefix": True}], {}, "role user"),
        ([], {"continue_final_message": True}, "role user"),
    ],
)
def test_what_cannot_go_on_is_refused_with_the_reason(
    client: openai.OpenAI, messages: Any, body: Any, words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        ask(client, *messages, extra_body=body)


def test_the_string_that_stopped_an_answer_is_named(client: openai.OpenAI) -> None:
    stop = ["84", " seven"]
    whole = ask(client, stop=stop).choices[0]
    assert (whole.message.content, whole.finish_reason, whole.stop_reason) == ("Twelve times", "stop", " seven")
    assert [chunk.choices[0] for chunk in ask(client, stop=stop, stream=True)][-1].stop_reason == " seven"
    assert not hasattr(ask(client).choices[0], "stop_reason")
    older = client.completions.create(model="scripted", prompt="12 * 7?", stop=stop, max_tokens=50)
    assert older.choices[0].stop_reason == " seven"


def test_a_prompt_that_does_not_fit_names_its_field_and_the_numbers_in_words_that_clients_know(
    client: openai.OpenAI,
) -> None:
    numbers = r"maximum context length is 2048 tokens, and .* 21\d\d tokens"
    long = "x" * 2100
    refused: list[tuple[str, Callable[[], object]]] = [
        ("messages", lambda: ask(client, {"role": "user", "content": long})),
        ("prompt", lambda: client.completions.create(model="scripted", prompt=long)),
        ("input", lambda: client.responses.create(model="scripted", input=long)),
    ]
    for param, request in refused:
        with pytest.raises(openai.BadRequestError, match=numbers) as caught:
            request()
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", param)


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_parallel_calls_can_be_switched_off(http: httpx.AsyncClient, backend: FakeBackend, path: str) -> None:
    asked = {"input": "a"} if path == "responses" else {"messages": [QUESTION]}
    for parallel in (False, True, None):
        answer = await http.post(f"/v1/{path}", json=asked | {"parallel_tool_calls": parallel})
        assert answer.status_code == 200
    assert [request.parallel_tool_calls for request in backend.requests] == [False, True, True]
