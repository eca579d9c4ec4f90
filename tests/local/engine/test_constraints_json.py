"""Answers that must be JSON or a tool call, checked by libraries that know nothing of grammars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from dspark_local.demo import weights_path
from dspark_local.engine.answering import Answering
from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Off, Scheduler, Static
from dspark_local.engine.session import Session
from dspark_local.engine.task import Step
from dspark_local.errors import UsageError
from dspark_local.events import Event, Finished, TextDelta, ToolArgumentsDelta, ToolCallStarted
from dspark_local.protocols.chat_encoding import encode_chat_segments
from dspark_local.protocols.special_tokens import DSML, THINK_CLOSE
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.request import ChatMessage, ChatRequest, NamedTool, OutputFormat, SamplingSettings, TokenRequest
from dspark_models import load_drafter, load_target
from dspark_models.protocols import Drafter, Target
from tests.fakes import FakeDrafter, FakeTarget, random_table
from tests.local.engine.schemas import random_schema

ASK = (ChatMessage("user", "12 * 7?"),)
ANY = SamplingSettings(temperature=1.0, seed=1, max_tokens=400)


class Model:
    """A pair with the demo's tokenizer."""

    def __init__(self, tokenizer: ChatTokenizer, target: Target, drafter: Drafter | None) -> None:
        self.tokenizer = tokenizer
        self.session = Session(target, drafter)
        self.answering = Answering(tokenizer, target.vocab_size, target.context_length)

    def answer(self, request: ChatRequest, scheduler: Scheduler | None = None) -> list[Event]:
        segments = encode_chat_segments(
            request.messages, thinking=request.thinking, reasoning_effort=None, tools=request.tools
        )
        prepared = self.answering.chat(request, self.tokenizer.encode_prompt(segments))
        self.session.clear()
        events: list[Event] = []
        for progress in generate(self.session, replace(prepared.task, scheduler=scheduler or Static(3))):
            if isinstance(progress, Step):
                events += prepared.answer.take()
            elif isinstance(progress, Finished):
                events += [*prepared.answer.finish(truncated=progress.reason != "stop"), progress]
        return events


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer.load(weights_path())


@pytest.fixture(scope="module")
def chance(tokenizer: ChatTokenizer) -> Model:
    """A model that says anything, and a draft that mostly knows what."""
    size = tokenizer.vocab_size + 16  # padded, as checkpoints are
    target = FakeTarget(random_table(997, size, 1), context_length=100_000)
    return Model(tokenizer, target, FakeDrafter(target, random_table(991, size, 2), block_size=3))


@pytest.fixture(scope="module")
def demo(tokenizer: ChatTokenizer) -> Model:
    target = load_target(weights_path(), dtype="float32", device="cpu")
    return Model(tokenizer, target, load_drafter(weights_path(), target))


def said(events: Sequence[Event], channel: str = "content") -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.channel == channel)


def end(events: Sequence[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def calls(events: Sequence[Event]) -> list[tuple[str, Any]]:
    """(name, arguments) of every call."""
    names = [event.name for event in events if isinstance(event, ToolCallStarted)]
    texts = [
        "".join(e.text for e in events if isinstance(e, ToolArgumentsDelta) and e.index == i) for i in range(len(names))
    ]
    return list(zip(names, map(json.loads, texts), strict=True))


def with_schema(schema: dict[str, Any], sampling: SamplingSettings = ANY) -> ChatRequest:
    return ChatRequest(ASK, sampling, output_format=OutputFormat("json_schema", schema))


def test_every_finished_answer_to_a_hundred_random_schemas_is_valid(chance: Model) -> None:
    finished = kept = 0
    for seed in range(100):
        schema = random_schema(seed)
        jsonschema.Draft202012Validator.check_schema(schema)
        events = chance.answer(with_schema(schema, replace(ANY, seed=seed)))
        kept += end(events).stats.accepted_tokens
        if end(events).reason == "stop":
            jsonschema.validate(json.loads(said(events)), schema, jsonschema.Draft202012Validator)
            finished += 1
    assert finished >= 95
    assert kept > 500


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_speculation_changes_no_token_of_an_answer_to_a_schema(chance: Model, seed: int, temperature: float) -> None:
    request = with_schema(random_schema(seed), replace(ANY, seed=seed, temperature=temperature))
    expected = end(chance.answer(request, Off())).token_ids
    assert all(end(chance.answer(request, Static(k))).token_ids == expected for k in (1, 3))


SMALL: dict[str, Any] = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["ok", "n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_demo_answers_in_a_schema_the_same_with_and_without_its_draft(demo: Model, temperature: float) -> None:
    request = with_schema(SMALL, replace(ANY, temperature=temperature, max_tokens=120))
    plain, drafted = demo.answer(request, Off()), demo.answer(request, Static(4))
    assert end(plain).token_ids == end(drafted).token_ids
    assert end(drafted).reason == "stop"
    jsonschema.validate(json.loads(said(drafted)), SMALL)


def test_a_json_object_may_be_any_and_nothing_else(chance: Model, tokenizer: ChatTokenizer) -> None:
    closing = tokenizer.encode_text("}")[0]
    finished = 0
    for seed in range(20):
        sampling = replace(ANY, seed=seed, logit_bias={closing: 6.0})
        events = chance.answer(ChatRequest(ASK, sampling, output_format=OutputFormat("json_object")))
        if end(events).reason == "stop":
            assert isinstance(json.loads(said(events)), dict)
            finished += 1
    assert finished >= 5


def test_reasoning_is_free_and_the_answer_after_it_is_json(chance: Model, tokenizer: ChatTokenizer) -> None:
    close, stop, tool = tokenizer.token_id(THINK_CLOSE), tokenizer.eos_ids[0], tokenizer.token_id(DSML)
    for seed in range(10):
        sampling = replace(ANY, seed=seed, logit_bias={close: 8.0, stop: 8.0, tool: 8.0})
        events = chance.answer(replace(with_schema(SMALL, sampling), thinking="thinking"))
        assert end(events).reason == "stop"
        jsonschema.validate(json.loads(said(events)), SMALL)
        assert tokenizer.decode(end(events).token_ids).count(THINK_CLOSE) == 1


TOOLS: tuple[dict[str, Any], ...] = (
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "unit": {"type": "string", "enum": ["C", "F"]},
                    "days": {"$ref": "#/$defs/days"},
                    "city": {"type": "string"},
                },
                "required": ["unit", "days"],
                "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
    {"type": "function", "function": {"name": "free", "parameters": {"anyOf": [{"type": "object"}]}}},
)


def check_calls(made: list[tuple[str, Any]]) -> None:
    by_name = {tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0}) for tool in TOOLS}
    assert made
    for name, arguments in made:
        jsonschema.validate(arguments, by_name[name])


@pytest.mark.parametrize("thinking", [False, True])
def test_a_required_call_calls_tools_with_arguments_that_fit_their_schemas(
    chance: Model, tokenizer: ChatTokenizer, thinking: bool
) -> None:
    # A random text ends where "<", "/" and the marker happen to follow each other.
    bias = dict.fromkeys(tokenizer.encode_text("</"), 8.0)
    bias |= {tokenizer.token_id(DSML): 9.0, tokenizer.token_id(THINK_CLOSE): 8.0}
    names = set()
    for seed in range(12):
        request = ChatRequest(ASK, replace(ANY, seed=seed, logit_bias=bias), tools=TOOLS[:2], tool_choice="required")
        events = chance.answer(replace(request, thinking="thinking" if thinking else "chat"))
        if end(events).reason == "stop":
            assert not said(events).strip()
            check_calls(calls(events))
            names |= {name for name, _ in calls(events)}
    assert {"get_weather", "now"} <= names


def test_a_named_tool_is_called_once_and_no_other(chance: Model) -> None:
    for seed in range(5):
        request = ChatRequest(ASK, replace(ANY, seed=seed), tools=TOOLS, tool_choice=NamedTool("now"))
        events = chance.answer(request)
        assert end(events).reason == "stop"
        assert calls(events) == [("now", {})]


def test_without_parallel_calls_a_required_call_is_one(chance: Model) -> None:
    for seed in range(8):
        request = ChatRequest(ASK, replace(ANY, seed=seed), tools=TOOLS[1:2], tool_choice="required")
        assert calls(chance.answer(replace(request, parallel_tool_calls=False))) == [("now", {})]


def test_the_demo_calls_a_named_tool(demo: Model) -> None:
    request = ChatRequest(ASK, replace(ANY, temperature=0.0), tools=TOOLS, tool_choice=NamedTool("now"))
    assert calls(demo.answer(request)) == [("now", {})]


def test_no_tool_is_called_where_calls_are_forbidden(chance: Model, tokenizer: ChatTokenizer) -> None:
    bias = {tokenizer.token_id(DSML): 30.0}
    sampling = replace(ANY, logit_bias=bias, max_tokens=50)
    forbidden = chance.answer(ChatRequest(ASK, sampling, tools=TOOLS, tool_choice="none"))
    free = chance.answer(ChatRequest(ASK, sampling, tools=TOOLS))
    assert tokenizer.token_id(DSML) not in end(forbidden).token_ids
    assert tokenizer.token_id(DSML) in end(free).token_ids


def test_with_tools_and_a_schema_the_answer_is_a_call_or_json(chance: Model, tokenizer: ChatTokenizer) -> None:
    kinds = set()
    tools = TOOLS[1:2]
    for seed in range(10):
        bias = {tokenizer.encode_text("{")[0]: 3.0}
        events = chance.answer(replace(with_schema(SMALL, replace(ANY, seed=seed, logit_bias=bias)), tools=tools))
        if end(events).reason == "stop" and calls(events):
            assert {call for call, _ in calls(events)} == {"now"}
            kinds.add("call")
        elif end(events).reason == "stop":
            jsonschema.validate(json.loads(said(events)), SMALL)
            kinds.add("json")
    assert kinds == {"call", "json"}


@pytest.mark.parametrize(
    "schema", [{"not": {}}, {"$ref": "#/nowhere"}, {"type": "nonsense"}, {"type": "string", "pattern": "("}]
)
def test_a_schema_that_cannot_be_enforced_is_refused_before_anything_runs(
    chance: Model, schema: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="cannot be enforced") as caught:
        chance.answering.chat(with_schema(schema), [1])
    assert caught.value.code == "invalid_json_schema"


def test_names_of_tools_cannot_write_grammar(chance: Model) -> None:
    odd = 'x" | /.*/ "\n\\'
    tools = ({"type": "function", "function": {"name": odd, "parameters": {"properties": {odd: {}}}}},)
    request = ChatRequest(ASK, ANY, tools=tools, tool_choice="required")
    mask = chance.answering.chat(request, [1]).task.constraint
    assert mask is not None
    text = '\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="'
    mask.append(chance.tokenizer.encode_text(text, parse_markup=True))
    allowed = mask.mask([], 1, 2000)[0].nonzero().flatten().tolist()
    assert all(odd.encode().startswith(chance.tokenizer.token_bytes(i)) for i in allowed)


def test_an_endless_answer_of_a_form_is_refused(chance: Model) -> None:
    with pytest.raises(UsageError, match="ignore_eos"):
        chance.answering.chat(with_schema(SMALL, replace(ANY, ignore_eos=True)), [1])


def test_completions_of_tokens_take_a_form_too(chance: Model) -> None:
    prepared = chance.answering.complete(TokenRequest((5,), ANY, output_format=OutputFormat("json_object")))
    assert prepared.task.constraint is not None


@pytest.mark.parametrize(
    "choice",
    [
        {"tool_choice": "required"},
        {"tool_choice": NamedTool("now")},
        {"tools": TOOLS, "tool_choice": NamedTool("x")},
    ],
)
def test_a_tool_that_is_not_there_cannot_be_demanded(choice: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tool"):
        ChatRequest(ASK, **choice)
