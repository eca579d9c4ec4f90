"""The official client against real engines: a recited answer, and the demo model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from dspark_local.demo import weights_path
from dspark_local.native import NativeBackend
from tests.local.scripted import scripted_backend

ASKED: Any = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "12 * 7?"}]}
TOOLS: Any = [{"name": "multiply", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}]
CALL = (
    'I multiply.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="multiply">\n'
    '<｜DSML｜parameter name="a" string="false">12</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
)


@pytest.fixture
def connect(serve_on_socket: Callable[..., Any]) -> Iterator[Callable[..., anthropic.Anthropic]]:
    clients: list[anthropic.Anthropic] = []

    def connect(load: Callable[..., NativeBackend]) -> anthropic.Anthropic:
        server = serve_on_socket(load)
        while server.worker.state == "loading":
            pass
        clients.append(anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_thinking_and_text_arrive_as_the_model_says_them(connect: Callable[..., Any], tmp_path: Path) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path))
    with client.messages.stream(**ASKED, thinking={"type": "adaptive"}) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Let me see."
    assert message.content[1].text == "Twelve times seven is 84."
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


@pytest.mark.parametrize("streamed", [True, False])
def test_a_tool_call_in_the_models_markup_becomes_a_tool_use(
    connect: Callable[..., Any], tmp_path: Path, streamed: bool
) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path, CALL, context_length=2048))
    asked = ASKED | {"max_tokens": 1000, "tools": TOOLS}
    if streamed:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    text, call = message.content
    assert (text.text, call.name, call.input, message.stop_reason) == ("I multiply.", "multiply", {"a": 12}, "tool_use")


def test_half_a_tool_call_is_not_handed_out(connect: Callable[..., Any], tmp_path: Path) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path, CALL, context_length=2048))
    message = client.messages.create(**ASKED | {"max_tokens": 100, "tools": TOOLS})
    assert ([block.type for block in message.content], message.stop_reason) == (["text"], "max_tokens")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_stop_sequence_is_named_but_not_shown(connect: Callable[..., Any], tmp_path: Path, streamed: bool) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path))
    asked = ASKED | {"stop_sequences": ["84", " seven", "Thirteen"]}
    if streamed:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    assert message.content[0].text == "Twelve times"
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " seven")


def test_a_last_turn_of_the_assistant_goes_on(connect: Callable[..., Any], tmp_path: Path) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path))
    question = ASKED["messages"][0]

    def rest(content: Any, **more: Any) -> Any:
        return client.messages.create(
            **ASKED | {"messages": [question, {"role": "assistant", "content": content}]}, **more
        )

    message = rest("Twelve times")
    assert [block.text for block in message.content] == [" seven is 84."]
    assert message.stop_reason == "end_turn"
    thinks: Any = {"thinking": {"type": "adaptive"}}
    message = rest([{"type": "thinking", "thinking": "Let me", "signature": "s"}], **thinks)
    assert (message.content[0].thinking, message.content[1].text) == (" see.", "Twelve times seven is 84.")
    over = [{"type": "thinking", "thinking": "Let me see.", "signature": "s"}, {"type": "text", "text": "Twelve"}]
    assert [block.text for block in rest(over, **thinks).content] == [" times seven is 84."]
    call = [{"type": "tool_use", "id": "t", "name": "multiply", "input": {}}]
    with pytest.raises(anthropic.BadRequestError, match="ends with a message of role assistant"):
        rest(call)


def test_a_full_context_is_told_apart_from_max_tokens(connect: Callable[..., Any], tmp_path: Path) -> None:
    client = connect(lambda progress: scripted_backend(tmp_path, endless=True, context_length=64))
    message = client.messages.create(**ASKED | {"max_tokens": 5000})
    assert message.stop_reason == "model_context_window_exceeded"
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 64 maximum"):
        client.messages.create(**ASKED | {"messages": [{"role": "user", "content": "7" * 100}]})


def test_counted_tokens_are_those_that_a_message_costs_and_a_second_turn_finds_the_first_cached(
    connect: Callable[..., Any],
) -> None:
    client = connect(lambda progress: NativeBackend.load(weights_path(), dtype="float32", context_length=512))
    history: Any = [{"role": "user", "content": "What is 2 + 3?"}]
    asked: Any = {"model": "dspark-demo", "system": "Be brief.", "messages": history}
    counted = client.messages.count_tokens(**asked).input_tokens
    first = client.messages.create(**asked, max_tokens=60)
    assert first.usage.input_tokens == counted
    assert first.content[0].text
    history += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "And 4 + 5?"}]
    second = client.messages.create(**asked, max_tokens=60)
    cached = second.usage.cache_read_input_tokens
    assert cached > 0.5 * counted
    assert cached + second.usage.input_tokens == client.messages.count_tokens(**asked).input_tokens
