"""The official client, which knows nothing of this server, is the judge of what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend

USER: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(serve_on_socket: Callable[..., Any]) -> openai.OpenAI:
    server = serve_on_socket(lambda progress: FakeBackend())
    while server.worker.state == "loading":
        pass
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)


def ask(client: openai.OpenAI, **extra: Any) -> Any:
    return client.chat.completions.create(**{"model": "dspark-demo", "messages": USER} | extra)


def test_it_lists_the_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["dspark-demo"]
    assert client.models.retrieve("dspark-demo").owned_by == "dspark-local"


def test_it_gets_a_whole_answer(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens > 0


def test_it_streams_text_reasoning_and_usage(client: openai.OpenAI) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": True}}
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}, extra_body=extra))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == REASONING
    assert chunks[-1].usage.total_tokens > 0


def test_it_drives_a_tool_call_and_its_result(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    first = ask(client, messages=[{"role": "user", "content": "weather?"}], tools=tools)
    call = first.choices[0].message.tool_calls[0]
    assert (first.choices[0].finish_reason, call.function.arguments) == ("tool_calls", '{"city": "Bern"}')
    result = {"role": "tool", "tool_call_id": call.id, "content": "echo sunny"}
    history = [{"role": "user", "content": "?"}, first.choices[0].message.model_dump(exclude_none=True), result]
    assert ask(client, messages=history).choices[0].message.content == "sunny"


def test_errors_map_to_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as too_long:
        ask(client, messages=[{"role": "user", "content": "too long"}], stream=True)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        ask(client, model="another")
    with pytest.raises(openai.InternalServerError):
        ask(client, messages=[{"role": "user", "content": "fault"}])
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="wrong"))


def test_a_fault_in_mid_stream_raises_instead_of_looking_complete(serve_on_socket: Callable[..., Any]) -> None:
    class BreaksOff(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            for count, event in enumerate(super().chat(request, cancelled)):
                if count == 6:
                    raise RuntimeError("a wire came loose")
                yield event

    server = serve_on_socket(lambda progress: BreaksOff())
    while server.worker.state == "loading":
        pass
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
    stream = iter(ask(client, stream=True))
    assert [next(stream).choices[0].delta.content for _ in range(4)] == ["", "", "", "Speculative"]
    with pytest.raises(openai.APIError, match="a wire came loose"):
        list(stream)


def test_closing_a_stream_stops_the_engine(serve_on_socket: Callable[..., Any]) -> None:
    backend = FakeBackend(pass_seconds=0.01)
    server = serve_on_socket(lambda progress: backend)
    while server.worker.state == "loading":
        pass
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
    with ask(client, messages=[{"role": "user", "content": "endless"}], stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    assert ask(client, messages=[{"role": "user", "content": "echo again"}]).choices[0].message.content == "again"
    assert backend.passes < 100


def test_a_full_queue_is_a_rate_limit_that_says_when_to_come_back(serve_on_socket: Callable[..., Any]) -> None:
    server = serve_on_socket(lambda progress: FakeBackend(pass_seconds=0.01), queue_size=0)
    while server.worker.state == "loading":
        pass
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
    for call in (
        lambda: ask(client),
        lambda: client.responses.create(model="dspark-demo", input="hello"),
        lambda: client.completions.create(model="dspark-demo", prompt="hello"),
    ):
        with pytest.raises(openai.RateLimitError) as full:
            call()
        assert full.value.code == "queue_full"
        assert int(full.value.response.headers["Retry-After"]) > 0
