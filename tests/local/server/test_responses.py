"""POST /v1/responses. The official client judges what it says; the fake backend shows what the engine was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from dspark_local.errors import EngineUnavailableError
from dspark_local.events import Finished, PrefillProgress, TextDelta, TokenLogprobs
from dspark_local.request import ChatMessage, NamedTool, OutputFormat, ToolCall
from dspark_local.server import openai_responses_answer
from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend

PATH = "/v1/responses"
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": True}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
THINKING: Any = {"effort": "high"}


@pytest.fixture
def serve(serve_on_socket: Callable[..., Any]) -> Callable[[FakeBackend], openai.OpenAI]:
    def start(backend: FakeBackend) -> openai.OpenAI:
        server = serve_on_socket(lambda progress: backend)
        while server.worker.state == "loading":
            pass
        return openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)

    return start


@pytest.fixture
def client(serve: Callable[..., openai.OpenAI], backend: FakeBackend) -> openai.OpenAI:
    return serve(backend)


def ask(client: openai.OpenAI, prompt: Any = "hello", **extra: Any) -> Any:
    return client.responses.create(model="dspark-demo", input=prompt, **extra)


# ---- answers


def test_a_whole_response_has_text_usage_and_figures(client: openai.OpenAI) -> None:
    response = ask(client, metadata={"a": "b"}, store=True, instructions="Be brief.")
    assert (response.status, response.output_text, response.error) == ("completed", ANSWER, None)
    assert [item.type for item in response.output] == ["message"]
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.usage.input_tokens_details.cached_tokens == 0
    assert (response.metadata, response.instructions, response.store) == ({"a": "b"}, "Be brief.", False)
    assert response.model_extra["dspark"]["stats"]["accepted_length"] > 1


def test_the_events_of_a_text_come_in_the_order_agents_expect(client: openai.OpenAI) -> None:
    events = list(ask(client, stream=True))
    kinds = [event.type for event in events]
    first, last = kinds.index("response.output_text.delta"), len(kinds) - 4
    assert kinds[:first] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[first:last]) == {"response.output_text.delta"}
    assert kinds[last:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[first:last]) == ANSWER == events[last].text
    assert len({event.item_id for event in events[3 : last + 1]}) == 1
    assert events[2].item.content == []
    assert (events[-1].response.output_text, events[-1].response.usage.output_tokens > 0) == (ANSWER, True)


async def test_every_event_is_named_on_the_wire_too(http: httpx.AsyncClient) -> None:
    text = (await http.post(PATH, json={"input": "hello", "stream": True})).text
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")


def test_the_clients_stream_helper_rebuilds_what_was_said(client: openai.OpenAI) -> None:
    with client.responses.stream(model="dspark-demo", input="hello", reasoning=THINKING) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text == ANSWER
    assert [item.type for item in final.output] == ["reasoning", "message"]


def test_reasoning_is_an_item_of_its_own(client: openai.OpenAI) -> None:
    reasoning, message = ask(client, reasoning=THINKING).output
    assert (reasoning.type, reasoning.content[0].text, reasoning.status) == ("reasoning", REASONING, "completed")
    assert (message.content[0].text, reasoning.encrypted_content) == (ANSWER, None)
    events = list(ask(client, reasoning=THINKING, stream=True))
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == REASONING
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.type for item in done] == ["reasoning", "message"]
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens > 0


def test_reasoning_comes_back_sealed_from_clients_that_do_not_keep_its_text(
    client: openai.OpenAI, backend: FakeBackend
) -> None:
    first = ask(client, reasoning=THINKING, include=["reasoning.encrypted_content"])
    reasoning, message = (item.model_dump(exclude_none=True) for item in first.output)
    del reasoning["content"]
    ask(client, [{"role": "user", "content": "hello"}, reasoning, message, {"role": "user", "content": "and?"}])
    assert backend.requests[1].messages[1] == ChatMessage("assistant", ANSWER, reasoning=REASONING)
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    ask(client, [{"role": "user", "content": "hello"}, foreign, message, {"role": "user", "content": "and?"}])
    assert backend.requests[2].messages[1] == ChatMessage("assistant", ANSWER)


def test_a_tool_is_called_and_its_result_answered(client: openai.OpenAI, backend: FakeBackend) -> None:
    history: list[Any] = [{"role": "user", "content": "weather?"}]
    first = ask(client, history, tools=[WEATHER, {"type": "web_search"}, {"type": "namespace", "name": "x"}])
    (call,) = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Bern"})
    assert (first.status, call.status) == ("completed", "completed")
    assert call.id != call.call_id
    history += [call.model_dump(), {"type": "function_call_output", "call_id": call.call_id, "output": "echo sunny"}]
    assert ask(client, history, tools=[WEATHER]).output_text == "sunny"
    known = {"name": "get_weather", "parameters": {"type": "object"}}
    assert [dict(tool) for tool in backend.requests[0].tools] == [{"type": "function", "function": known}]
    assert backend.requests[1].messages[1:] == (
        ChatMessage("assistant", tool_calls=(ToolCall(call.call_id, "get_weather", '{"city": "Bern"}'),)),
        ChatMessage("tool", "echo sunny", tool_call_id=call.call_id),
    )


def test_a_calls_arguments_stream_in_pieces(client: openai.OpenAI) -> None:
    with client.responses.stream(model="dspark-demo", input="weather?", tools=[WEATHER]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert (len(pieces), "".join(pieces)) == (2, '{"city": "Bern"}')
    (done,) = (event for event in events if event.type == "response.function_call_arguments.done")
    assert (done.name, done.arguments) == ("get_weather", '{"city": "Bern"}')
    assert final.output[0].parsed_arguments == {"city": "Bern"}


def test_a_limit_makes_the_response_incomplete(client: openai.OpenAI) -> None:
    response = ask(client, max_output_tokens=2)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert list(ask(client, max_output_tokens=2, stream=True))[-1].type == "response.incomplete"


def test_an_answer_without_words_is_an_empty_message(serve: Callable[..., openai.OpenAI]) -> None:
    class Silent(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            yield Finished("stop", (1,))

    response = ask(serve(Silent()))
    assert [item.type for item in response.output] == ["message"]
    assert response.output_text == ""


def test_logprobs_ride_with_the_text_they_belong_to(serve: Callable[..., openai.OpenAI]) -> None:
    class Weighs(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            self.requests.append(request)
            yield TokenLogprobs(5, b"hm", -2.0, channel="reasoning")
            yield TextDelta("hm", "reasoning")
            yield TokenLogprobs(7, b"Y", -0.5, ((7, b"Y", -0.5), (8, b"\xf0\x9f", -1.5)))
            yield TokenLogprobs(9, b"es", -0.25, ((9, b"es", -0.25),))
            yield TextDelta("Yes")
            yield TokenLogprobs(1, b"", -0.1)
            yield Finished("stop", (5, 7, 9, 1))

    backend = Weighs()
    response = ask(serve(backend), top_logprobs=2, include=["message.output_text.logprobs"])
    told = response.output[1].content[0].logprobs
    assert [(entry.token, entry.logprob) for entry in told] == [("Y", -0.5), ("es", -0.25)]
    assert [top.bytes for top in told[0].top_logprobs] == [[89], [0xF0, 0x9F]]
    assert backend.requests[0].top_logprobs == 2


def test_progress_of_a_long_prompt_keeps_agents_waiting(
    serve: Callable[..., openai.OpenAI], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reads(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            for done in range(5):
                yield PrefillProgress(done * 512, 2048, 0)
            yield TextDelta("Read.")
            yield Finished("stop", (1,))

    monkeypatch.setattr(openai_responses_answer, "_PROGRESS_SECONDS", 0.0)
    events = list(ask(serve(Reads()), stream=True))
    told = [event.response.model_extra["dspark"] for event in events if event.type == "response.in_progress"]
    assert [extension and extension["prefill"]["done"] for extension in told] == [None, 0, 512, 1024, 1536, 2048]
    assert events[-1].response.output_text == "Read."


# ---- requests


def test_every_setting_reaches_the_engine(client: openai.OpenAI, backend: FakeBackend) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    ask(
        client,
        instructions="Be brief.",
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=7,
        text=form,
        reasoning={"effort": "xhigh"},
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "get_weather"},
        parallel_tool_calls=False,
        prompt_cache_key="k",
        extra_body={"dspark": {"speculation": "static:3", "conversation_id": "c"}, "client_metadata": {"x": 1}},
    )
    (request,) = backend.requests
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.max_tokens) == (0.5, 0.9, 7)
    assert (request.thinking, request.reasoning_effort) == ("thinking", "max")
    assert (request.output_format, request.tool_choice) == (
        OutputFormat("json_schema", SCHEMA),
        NamedTool("get_weather"),
    )
    assert request.messages == (
        ChatMessage("system", "Be brief.", response_format=SCHEMA),
        ChatMessage("user", "hello"),
    )
    assert (request.speculation.draft_tokens, request.conversation_id) == (3, "c")


def test_items_become_the_turns_they_came_from(client: openai.OpenAI, backend: FakeBackend) -> None:
    ask(
        client,
        [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You may write."}]},
            {"role": "system", "content": "It is Monday."},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "cat", "arguments": '{"f": 1}'},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "x"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "y"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}]},
            {"type": "function_call", "call_id": "c3", "name": "ls", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c3", "output": "z"},
            {"role": "developer", "content": "Hurry."},
        ],
        instructions="Be brief.",
    )
    assert backend.requests[0].messages == (
        ChatMessage("system", "Be brief.\n\nYou may write.\n\nIt is Monday."),
        ChatMessage("user", "ab"),
        ChatMessage(
            "assistant",
            "Let me look.",
            reasoning="Hm.",
            tool_calls=(ToolCall("c1", "ls", "{}"), ToolCall("c2", "cat", '{"f": 1}')),
        ),
        ChatMessage("tool", "x", tool_call_id="c1"),
        ChatMessage("tool", "y", tool_call_id="c2"),
        ChatMessage("assistant", "", reasoning="So.", tool_calls=(ToolCall("c3", "ls", "{}"),)),
        ChatMessage("tool", "z", tool_call_id="c3"),
        ChatMessage("system", "Hurry."),
    )


@pytest.mark.parametrize(
    ("extra", "code", "param"),
    [
        ({"previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "unsupported_value", "input.0"),
        ({"input": [{"content": "x"}]}, "invalid_value", "input.0"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "invalid_value", "input.0"),
        ({"input": [{"type": "function_call_output", "call_id": "x"}]}, "invalid_value", "input.0"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}]},
            "unsupported_value",
            "input.0",
        ),
        (
            {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "dspark1.?"}]},
            "invalid_value",
            "input.0",
        ),
        ({"input": 3}, "invalid_value", "input"),
        ({"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"temperature": -1}, "invalid_value", "temperature"),
        ({"top_logprobs": 21}, "invalid_value", "top_logprobs"),
        ({"reasoning": {"effort": "ultra"}}, "invalid_value", "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "invalid_value", "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "unsupported_value", "text.format"),
        ({"tools": [{"type": "function"}]}, "invalid_value", "tools.0.name"),
        ({"tools": [{"type": "function", "name": 'a"b'}]}, "invalid_value", "tools.0.name"),
        ({"tools": [{"type": "function", "name": "a", "parameters": 3}]}, "invalid_value", "tools.0.parameters"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": "web_search"}}, "unsupported_value", "tool_choice"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_its_field(
    http: httpx.AsyncClient, backend: FakeBackend, extra: dict[str, Any], code: str, param: str
) -> None:
    response = await http.post(PATH, json={"input": "hello"} | extra)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (400, "invalid_request_error", code)
    assert error["param"] == param or error["param"].startswith(f"{param}.")
    assert backend.requests == []


@pytest.mark.parametrize("value", ["NaN", "-Infinity", r'"\ud800"', "[" * 120 + "]" * 120, f"[{'0,' * 20_000}0]"])
async def test_what_could_not_be_told_back_is_refused(http: httpx.AsyncClient, value: str) -> None:
    body = f'{{"input": "hello", "metadata": {{"a": {value}}}}}'
    response = await http.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


# ---- errors


def test_errors_map_to_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as too_long:
        ask(client, "too long", stream=True)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="another", input="hello")
    with pytest.raises(openai.InternalServerError):
        ask(client, "fault")
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="wrong"))
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_a_fault_in_mid_stream_fails_the_response_and_raises(serve: Callable[..., openai.OpenAI]) -> None:
    class BreaksOff(FakeBackend):
        def chat(self, request: Any, cancelled: Any) -> Any:
            yield TextDelta("Half an")
            raise EngineUnavailableError("A wire came loose.")

    stream = iter(ask(serve(BreaksOff()), stream=True))
    events: list[Any] = []
    with pytest.raises(openai.APIError, match="A wire came loose") as raised:
        events.extend(stream)
    assert raised.value.code == "engine_unavailable"
    assert events[-1].type == "response.failed"
    assert (events[-1].response.status, events[-1].response.output_text) == ("failed", "Half an")
    assert events[-1].response.error.message == "A wire came loose."


def test_closing_the_stream_stops_the_engine(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.pass_seconds = 0.01
    with ask(client, "endless", stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    assert ask(client, "echo again").output_text == "again"
    assert backend.passes < 100
