"""The official client, which knows nothing of this server, is the judge of what it says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend

USER: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
def client(serve_on_socket: Callable[..., Any], backend: FakeBackend) -> Iterator[anthropic.Anthropic]:
    yield from _client(serve_on_socket(lambda progress: backend))


def _client(server: Any) -> Iterator[anthropic.Anthropic]:
    while server.worker.state == "loading":
        pass
    with anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, **extra: Any) -> Any:
    return client.messages.create(**{"model": "dspark-demo", "max_tokens": 500, "messages": USER} | extra)


def test_it_gets_a_whole_message(client: anthropic.Anthropic) -> None:
    message = ask(client)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == ANSWER
    assert (message.model, message.stop_reason, message.stop_sequence) == ("dspark-demo", "end_turn", None)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")


def test_its_stream_helper_gathers_thinking_text_and_usage(client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(model="claude-x", max_tokens=500, messages=USER, thinking=thinking) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == REASONING
    assert message.content[0].signature == "unsigned-by-dspark-local"
    assert message.content[1].text == ANSWER
    assert message.usage.output_tokens > 0
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2


def test_a_stream_says_the_prompts_length_at_once(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="claude-x", max_tokens=5, messages=USER) as stream:
        first = next(iter(stream))
        assert first.message.usage.input_tokens > 0


def test_streamed_and_whole_messages_are_the_same(client: anthropic.Anthropic) -> None:
    asked: Any = {"model": "claude-x", "max_tokens": 500, "messages": USER, "thinking": {"type": "adaptive"}}
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    whole = client.messages.create(**asked)
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


@pytest.mark.parametrize("streamed", [False, True])
def test_it_drives_a_tool_call_and_its_result(client: anthropic.Anthropic, streamed: bool) -> None:
    asked: Any = {"model": "claude-x", "max_tokens": 500, "tools": [WEATHER]}
    history: Any = [{"role": "user", "content": "weather?"}]
    if streamed:
        with client.messages.stream(messages=history, **asked) as stream:
            first = stream.get_final_message()
    else:
        first = client.messages.create(messages=history, **asked)
    call = first.content[-1]
    assert (first.stop_reason, call.type, call.input) == ("tool_use", "tool_use", {"city": "Bern"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "echo sunny"}]}
    history += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    assert ask(client, messages=history, tools=[WEATHER]).content[0].text == "sunny"


def test_the_clients_own_tool_runner_completes_its_loop(client: anthropic.Anthropic) -> None:
    asked: list[str] = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "echo sunny"

    history: Any = [{"role": "user", "content": "weather?"}]
    runner = client.beta.messages.tool_runner(model="claude-x", max_tokens=500, messages=history, tools=[get_weather])
    assert runner.until_done().content[0].text == "sunny"
    assert asked == ["Bern"]


def test_it_counts_tokens_without_generating(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    assert client.messages.count_tokens(model="claude-x", messages=USER).input_tokens == len("hello")
    assert client.messages.count_tokens(model="claude-x", messages=USER, system="Be brief.").input_tokens == 14
    assert backend.requests == []


def test_an_answer_that_meets_max_tokens_says_so(client: anthropic.Anthropic) -> None:
    message = ask(client, max_tokens=7)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 7)


def test_errors_map_to_the_clients_own_exceptions(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: 3000 tokens > 2048 maximum") as too_long:
        ask(client, messages=[{"role": "user", "content": "too long"}], stream=True)
    assert too_long.value.body["type"] == "error"
    assert too_long.value.body["error"]["type"] == "invalid_request_error"
    assert too_long.value.body["request_id"] == too_long.value.request_id
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        ask(client, model="gpt-9")
    with pytest.raises(anthropic.InternalServerError, match="api_error"):
        ask(client, messages=[{"role": "user", "content": "fault"}])
    with pytest.raises(anthropic.AuthenticationError):
        ask(client.with_options(api_key="wrong"))
    with pytest.raises(anthropic.RequestTooLargeError):
        ask(client, system="x" * 9_000_000)


def test_both_ways_to_send_the_key_and_any_version_are_accepted(client: anthropic.Anthropic) -> None:
    url = str(client.base_url)
    headers = {"anthropic-version": "2099-01-01", "anthropic-beta": "something-new"}
    by_token = anthropic.Anthropic(base_url=url, auth_token="secret", default_headers=headers, max_retries=0)
    assert ask(by_token).stop_reason == "end_turn"
    raw = client.with_options(default_headers={"x-api-key": "secret", "Authorization": anthropic.omit})
    assert ask(raw).stop_reason == "end_turn"


def test_a_loading_model_is_worth_another_attempt(serve_on_socket: Callable[..., Any]) -> None:
    loaded = threading.Event()

    def load(progress: Any) -> FakeBackend:
        loaded.wait(10)
        return FakeBackend()

    server = serve_on_socket(load)
    with anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0) as client:
        try:
            with pytest.raises(anthropic.APIStatusError) as loading:
                ask(client)
        finally:
            loaded.set()
    assert isinstance(loading.value, anthropic.OverloadedError)
    assert loading.value.response.headers["retry-after"] == "2"


def test_a_full_queue_is_worth_another_attempt(serve_on_socket: Callable[..., Any]) -> None:
    for client in _client(serve_on_socket(lambda progress: FakeBackend(), queue_size=0)):
        with pytest.raises(anthropic.RateLimitError, match="rate_limit_error") as full:
            ask(client)
        assert full.value.response.headers["retry-after"] == "2"


def test_a_fault_that_will_recur_is_not_tried_again(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    with pytest.raises(anthropic.InternalServerError):
        ask(client.with_options(max_retries=3), messages=[{"role": "user", "content": "fault"}])
    assert len(backend.requests) == 1


def test_a_fault_in_mid_stream_raises_instead_of_looking_complete(serve_on_socket: Callable[..., Any]) -> None:
    class BreaksOff(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            for count, event in enumerate(super().chat(request, cancelled)):
                if count == 6:
                    raise RuntimeError("a wire came loose")
                yield event

    server = serve_on_socket(lambda progress: BreaksOff())
    for client in _client(server):
        seen: list[str] = []
        with (
            pytest.raises(anthropic.APIError, match="a wire came loose"),
            client.messages.stream(model="claude-x", max_tokens=500, messages=USER) as stream,
        ):
            seen += stream.text_stream
        assert seen[0] == "Speculative"


def test_a_client_that_leaves_stops_the_engine(serve_on_socket: Callable[..., Any]) -> None:
    slow = FakeBackend(pass_seconds=0.01)
    for client in _client(serve_on_socket(lambda progress: slow)):
        endless: Any = [{"role": "user", "content": "endless"}]
        with client.messages.stream(model="claude-x", max_tokens=5000, messages=endless) as stream:
            next(iter(stream.text_stream))
        assert ask(client).stop_reason == "end_turn"  # the engine is free again
    assert slow.passes < 150


def test_a_long_wait_is_filled_with_pings(serve_on_socket: Callable[..., Any]) -> None:
    server = serve_on_socket(lambda progress: FakeBackend(), keep_alive=0.05)
    for client in _client(server):
        patience: Any = [{"role": "user", "content": "patience"}]
        body = {"model": "claude-x", "max_tokens": 5, "stream": True, "messages": patience}
        sent = client.post("/v1/messages", body=body, cast_to=str)
        assert sent.count('event: ping\ndata: {"type":"ping"}\n\n') >= 4
        assert ask(client, messages=patience, max_tokens=5).usage.output_tokens == 5
