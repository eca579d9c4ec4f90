from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from dspark_local.request import ChatMessage, NamedTool, OutputFormat
from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend

PATH = "/v1/chat/completions"
USER = [{"role": "user", "content": "hello"}]


def tool(**extra: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "get_weather"} | extra}


TOOLS = [tool()]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def tool(**extra: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "get_weather"} | extra}


TOOLS = [tool()]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
NESTED: dict[str, Any] = {}
for _ in range(70):
    NESTED = {"again": NESTED}


def body(prompt: str = "hello", **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], **extra}


def chunks_of(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def test_an_answer_that_is_not_streamed_carries_text_usage_and_figures(http: httpx.AsyncClient) -> None:
    answer = (await http.post(PATH, json=body())).json()
    assert answer["choices"][0]["message"]["content"] == ANSWER
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert answer["dspark"]["stats"]["accepted_length"] > 1
    assert answer["dspark"]["stats"]["speculation_state"]["gain"] == 0.18


async def test_a_stream_says_role_text_reason_and_done_in_order(http: httpx.AsyncClient) -> None:
    chunks = chunks_of((await http.post(PATH, json=body(stream=True))).text)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == ANSWER
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks].count(None) == len(chunks) - 1
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks)


async def test_usage_comes_in_one_last_chunk_without_choices_when_asked_for(http: httpx.AsyncClient) -> None:
    asked = body(stream=True, stream_options={"include_usage": True})
    chunks = chunks_of((await http.post(PATH, json=asked)).text)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_reasoning_streams_under_both_names_beside_empty_content(http: httpx.AsyncClient) -> None:
    asked = body(stream=True, chat_template_kwargs={"enable_thinking": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of((await http.post(PATH, json=asked)).text)]
    thinking = [delta for delta in deltas if "reasoning" in delta]
    assert "".join(delta["reasoning"] for delta in thinking) == REASONING
    assert all(delta["reasoning_content"] == delta["reasoning"] and delta["content"] == "" for delta in thinking)


async def test_the_extension_reports_prefill_rounds_and_final_figures(http: httpx.AsyncClient) -> None:
    chunks = chunks_of((await http.post(PATH, json=body(stream=True))).text)
    extensions = [chunk["dspark"] for chunk in chunks if "dspark" in chunk]
    assert extensions[0]["prefill"]["total"] > 0
    rounds = [extension["round"] for extension in extensions if "round" in extension]
    assert rounds[0] == {
        "drafted": 5,
        "verified": 4,
        "accepted": 3,
        "context_used": rounds[0]["context_used"],
        "source": "draft",
        "draft_seconds": 0.001,
        "verify_seconds": 0.004,
        "speculation_state": {"phase": "on", "verified": 1.6, "block_size": 5},  # nothing measured yet: no gain
    }
    assert rounds[1]["speculation_state"]["gain"] == 0.18
    assert rounds[3]["source"] == "lookup"
    stats = extensions[-1]["stats"]
    assert stats["passes"] == len(rounds)
    assert stats["acceptance_per_position"][0] == 1.0
    assert (stats["context_length"], stats["speculation"]) == (2048, "auto")
    assert stats["speculation_state"] == {"phase": "on", "verified": 1.6, "block_size": 5, "gain": 0.18}


async def test_tool_calls_stream_as_deltas_and_join_to_json(http: httpx.AsyncClient) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    chunks = chunks_of((await http.post(PATH, json=body("weather?", stream=True, tools=tools))).text)
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "get_weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Bern"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_every_setting_reaches_the_engine(http: httpx.AsyncClient, backend: FakeBackend) -> None:
    settings = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 7}
    options = {"conversation_id": "c1", "speculation": "static:3"}
    asked = body(**settings, stop=["END"], max_completion_tokens=5, reasoning_effort="max", dspark=options)
    await http.post(PATH, json=asked)
    request = backend.requests[0]
    assert {name: getattr(request.sampling, name) for name in settings} == settings
    assert (request.sampling.stop, request.sampling.max_tokens) == (("END",), 5)
    assert (request.speculation.mode, request.speculation.draft_tokens) == ("static", 3)
    assert (request.thinking, request.reasoning_effort, request.conversation_id) == ("thinking", "max", "c1")


async def test_bias_logprobs_and_a_forced_tool_reach_the_engine(http: httpx.AsyncClient, backend: FakeBackend) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    asked = body(logit_bias={"5": -100, "17": 2.5}, logprobs=True, top_logprobs=3, tools=TOOLS, tool_choice=choice)
    await http.post(PATH, json=asked | {"parallel_tool_calls": False})
    await http.post(PATH, json=body(logprobs=True, tools=TOOLS, tool_choice="required"))
    first, second = backend.requests
    assert first.sampling.logit_bias == {5: -100.0, 17: 2.5}
    assert (first.top_logprobs, second.top_logprobs) == (3, 0)
    assert (first.tool_choice, second.tool_choice) == (NamedTool("get_weather"), "required")


async def test_a_form_reaches_the_engine_and_its_schema_the_system_message(
    http: httpx.AsyncClient, backend: FakeBackend
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    system = {"role": "system", "content": "Be brief."}
    await http.post(PATH, json={"messages": [system, *USER], "response_format": form})
    await http.post(PATH, json=body(response_format=form))
    await http.post(PATH, json=body(response_format={"type": "json_object"}))
    await http.post(PATH, json=body(response_format={"type": "text"}))
    beside, alone, any_object, text = backend.requests
    assert beside.output_format == alone.output_format == OutputFormat("json_schema", SCHEMA)
    assert beside.messages[0] == ChatMessage("system", "Be brief.", response_format=SCHEMA)
    assert alone.messages[0] == ChatMessage("system", response_format=SCHEMA)
    assert any_object.output_format == OutputFormat("json_object")
    assert text.output_format is None


async def test_a_developer_message_is_a_system_message(http: httpx.AsyncClient, backend: FakeBackend) -> None:
    await http.post(PATH, json={"messages": [{"role": "developer", "content": "Be brief."}, *USER]})
    assert backend.requests[0].messages[0] == ChatMessage("system", "Be brief.")


async def test_settings_left_out_take_the_models_recommendation(http: httpx.AsyncClient, backend: FakeBackend) -> None:
    await http.post(PATH, json=body(max_tokens=1))
    assert backend.requests[0].sampling.temperature == backend.info.recommended_temperature == 0.0
    assert backend.requests[0].thinking == "chat"


@pytest.mark.parametrize(
    ("extra", "status", "code", "param"),
    [
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "owner", "content": "x"}]}, 400, "invalid_value", "messages.0.role"),
        ({"messages": USER * 16_385}, 400, "invalid_value", "messages"),
        ({"temperature": -1}, 400, "invalid_value", "temperature"),
        ({"temperature": "hot"}, 400, "invalid_value", "temperature"),
        ({"top_p": 0}, 400, "invalid_value", "top_p"),
        ({"seed": 2**63}, 400, "invalid_value", "seed"),
        ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"stop": ["x"] * 17}, 400, "invalid_value", "stop"),
        ({"stop": ["x" * 1025]}, 400, "invalid_value", "stop"),
        ({"n": 2}, 400, "unsupported_value", "n"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "invalid_value", "top_logprobs"),
        ({"top_logprobs": 3}, 400, "invalid_value", "top_logprobs"),
        ({"logit_bias": {"the": 1}}, 400, "invalid_value", "logit_bias.the"),
        ({"logit_bias": {"5": 101}}, 400, "invalid_value", "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, 400, "invalid_value", "logit_bias"),
        ({"response_format": {"type": "xml"}}, 400, "unsupported_value", "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, 400, "invalid_value", "response_format"),
        ({"response_format": {"type": "text", "long": [0] * 20_000}}, 400, "invalid_value", "response_format"),
        ({"tool_choice": "required"}, 400, "invalid_value", "tool_choice"),
        ({"tool_choice": "sometimes"}, 400, "unsupported_value", "tool_choice"),
        ({"tool_choice": {"type": "function"}}, 400, "unsupported_value", "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "fly"}}},
            400,
            "invalid_value",
            "tool_choice",
        ),
        ({"tools": [{"function": 3}]}, 400, "invalid_value", "tools.0.function"),
        ({"tools": [{"function": {"name": ""}}]}, 400, "invalid_value", "tools.0.function.name"),
        ({"tools": [tool(parameters={"required": 3})]}, 400, "invalid_value", "tools.0.function.parameters"),
        ({"tools": [tool(parameters={"properties": []})]}, 400, "invalid_value", "tools.0.function.parameters"),
        ({"tools": TOOLS * 513}, 400, "invalid_value", "tools"),
        ({"reasoning_effort": "ultra"}, 400, "invalid_value", "reasoning_effort"),
        ({"dspark": {"speculation": "sometimes"}}, 400, "invalid_value", None),
        ({"model": "../../etc/passwd"}, 404, "model_not_found", "model"),
    ],
)
async def test_a_wrong_field_is_refused_in_openai_shape(
    http: httpx.AsyncClient, backend: FakeBackend, extra: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    response = await http.post(PATH, json=body() | extra)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["param"] == param or (error["param"] or "").startswith(f"{param}.")
    assert error["message"]
    assert backend.requests == []


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "null", '"text"', '{"messages": 3}'])
async def test_a_body_that_is_no_chat_request_is_a_400(http: httpx.AsyncClient, content: str) -> None:
    response = await http.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_too_long_is_a_400_with_both_numbers_even_when_streamed(
    http: httpx.AsyncClient, stream: bool
) -> None:
    response = await http.post(PATH, json=body("too long", stream=stream))
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["n_prompt_tokens"], error["n_ctx"]) == ("context_length_exceeded", 3000, 2048)


async def test_a_fault_in_the_engine_is_a_500_without_retries_and_the_engine_lives_on(
    http: httpx.AsyncClient,
) -> None:
    response = await http.post(PATH, json=body("fault"))
    assert response.status_code == 500
    assert response.headers["x-should-retry"] == "false"
    assert (await http.post(PATH, json=body())).status_code == 200


async def test_unknown_fields_are_ignored(http: httpx.AsyncClient) -> None:
    assert (await http.post(PATH, json=body(store=True, metadata={"a": 1}))).status_code == 200


async def test_content_may_come_in_text_parts(http: httpx.AsyncClient, backend: FakeBackend) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    await http.post(PATH, json={"messages": [{"role": "user", "content": parts}]})
    assert backend.requests[0].messages[0].content == "one two"
    image = [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]
    assert (await http.post(PATH, json={"messages": [{"role": "user", "content": image}]})).status_code == 400
