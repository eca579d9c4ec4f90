"""The official client against the demo model itself: what only a real engine can show."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
import uvicorn

from dspark_local.demo import weights_path
from dspark_local.native import NativeBackend
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.worker import EngineWorker

ASKED: Any = [{"role": "user", "content": "What is 17 + 25?"}]
SPEC = {"dspark": {"speculation": "static:3"}}  # nothing to be measured first
PLACE: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Bern", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PLACE}}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    worker = EngineWorker(lambda progress: NativeBackend.load(weights_path(), dtype="float32", device="cpu"))
    app = create_app(worker, Access("secret"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    worker.start()
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    yield openai.OpenAI(base_url=url, api_key="secret", max_retries=6)  # 503 until it is loaded
    assert worker.stop()
    server.should_exit = True
    thread.join(10)


def chat(client: openai.OpenAI, **extra: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "dspark-demo", "messages": ASKED, "temperature": 0, "max_tokens": 60, "extra_body": SPEC} | extra
    )


def respond(client: openai.OpenAI, **extra: Any) -> Any:
    return client.responses.create(
        **{"model": "dspark-demo", "input": ASKED, "temperature": 0, "max_output_tokens": 60, "extra_body": SPEC}
        | extra
    )


def test_every_family_says_the_same(client: openai.OpenAI) -> None:
    answer = chat(client).choices[0].message.content
    assert "42" in answer
    streamed = chat(client, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices) == answer
    assert respond(client).output_text == answer
    with client.responses.stream(model="dspark-demo", input=ASKED, temperature=0, extra_body=SPEC) as stream:
        assert stream.get_final_response().output_text == answer


def test_reasoning_and_answer_are_the_same_in_chat_and_responses(client: openai.OpenAI) -> None:
    message = chat(client, reasoning_effort="high", max_tokens=200).choices[0].message
    reasoning, said = respond(client, reasoning={"effort": "high"}, max_output_tokens=200).output
    assert message.reasoning_content
    assert (reasoning.content[0].text, said.content[0].text) == (message.reasoning_content, message.content)


def test_logprobs_cover_the_content_and_name_greedys_choice_first(client: openai.OpenAI) -> None:
    choice = chat(client, logprobs=True, top_logprobs=4).choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
    for token in tokens:
        assert [len(token.top_logprobs), token.top_logprobs[0].bytes] == [4, token.bytes]
        assert token.logprob == token.top_logprobs[0].logprob <= 0
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1 + 1e-5
    chunks = chat(client, logprobs=True, top_logprobs=4, stream=True)
    streamed = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices and chunk.choices[0].logprobs]
    told = respond(client, top_logprobs=4).output[0].content[0].logprobs
    for again in ([token for piece in streamed for token in piece.content], told):
        assert [token.token for token in again] == [token.token for token in tokens]
        # Passes of another width round differently.
        assert [token.logprob for token in again] == pytest.approx([token.logprob for token in tokens], abs=1e-4)


def test_completions_tell_logprobs_and_where_each_token_begins(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": "dspark-demo",
        "prompt": "Once upon a time",
        "max_tokens": 20,
        "temperature": 0,
        "extra_body": SPEC,
    }
    choice = client.completions.create(**asked, logprobs=2).choices[0]
    logprobs = choice.logprobs
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)
    assert all(len(top) == 2 for top in logprobs.top_logprobs)
    chunks = list(client.completions.create(**asked, logprobs=2, stream=True))
    pieces = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    assert [offset for piece in pieces for offset in piece.text_offset] == logprobs.text_offset


def test_a_bias_bans_what_the_model_would_have_said(client: openai.OpenAI) -> None:
    first = _first_token(client, {})
    (token,) = ChatTokenizer.load(weights_path()).encode_text(first)
    assert _first_token(client, {str(token): -100}) != first
    with pytest.raises(openai.BadRequestError) as refused:
        _first_token(client, {"99999999": 1})
    assert refused.value.param == "logit_bias"


def test_a_schema_is_followed_in_chat_and_in_responses(client: openai.OpenAI) -> None:
    answer = chat(client, response_format=FORM, temperature=1, seed=3).choices[0]
    jsonschema.validate(json.loads(answer.message.content), PLACE)
    text: Any = {"format": {"type": "json_schema", "name": "place", "schema": PLACE, "strict": True}}
    jsonschema.validate(json.loads(respond(client, text=text).output_text), PLACE)


def test_a_schema_that_cannot_be_enforced_is_refused_by_name(client: openai.OpenAI) -> None:
    bad: Any = {"type": "object", "properties": {"a": {"type": "strange"}}, "required": ["a"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "bad", "schema": bad}}
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            chat(client, response_format=form, stream=stream)
        assert (refused.value.code, refused.value.param) == ("invalid_json_schema", "response_format")
    with pytest.raises(openai.BadRequestError) as refused:
        respond(client, text={"format": {"type": "json_schema", "name": "bad", "schema": bad}})
    assert refused.value.param == "text.format"


def test_a_tool_is_called_when_it_must_be_and_not_when_it_must_not(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    first = chat(client, tools=[CLOCK, WEATHER], tool_choice=named, max_tokens=250).choices[0]
    (call,) = first.message.tool_calls
    assert (first.finish_reason, call.function.name) == ("tool_calls", "get_weather")
    jsonschema.validate(json.loads(call.function.arguments), PLACE)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    history = [*ASKED, first.message.model_dump(exclude_none=True), result]
    final = chat(client, messages=history, tools=[CLOCK, WEATHER], tool_choice="none", max_tokens=10).choices[0]
    assert final.message.tool_calls is None


def test_responses_drive_a_forced_tool_and_its_result(client: openai.OpenAI) -> None:
    tool = {"type": "function", **WEATHER["function"]}
    asked = {"tools": [tool], "tool_choice": {"type": "function", "name": "get_weather"}, "max_output_tokens": 120}
    first = respond(client, **asked)
    (call,) = first.output
    jsonschema.validate(json.loads(call.arguments), PLACE)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = respond(
        client, input=[*ASKED, call.model_dump(exclude_none=True), result], tools=[tool], max_output_tokens=5
    )
    assert second.usage.input_tokens_details.cached_tokens > 0


def _first_token(client: openai.OpenAI, bias: dict[str, int]) -> str:
    return str(chat(client, logprobs=True, max_tokens=1, logit_bias=bias).choices[0].logprobs.content[0].token)
