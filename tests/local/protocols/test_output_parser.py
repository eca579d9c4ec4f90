from __future__ import annotations

import json
import random

import pytest

from dspark_local.events import TextDelta, ToolArgumentsDelta, ToolCallStarted
from dspark_local.protocols.chat_encoding import encode_chat
from dspark_local.protocols.output_parser import OutputParser
from dspark_local.protocols.special_tokens import EOS, MARKUP_TOKENS
from dspark_local.request import ChatMessage, ThinkingMode, ToolCall
from tests.local.protocols.parsing import (
    D,
    block,
    invoke,
    parameter,
    parse,
    random_fragments,
    random_output,
    run_parser,
)

MODES: tuple[ThinkingMode, ThinkingMode] = ("chat", "thinking")
TOOLS = (
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}, "b": {}}}}},
    {"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {"input": {}}}}},
)


def test_reasoning_ends_at_its_closing_token_and_content_follows() -> None:
    parsed = parse(f"2+2 is 4.</think>Four.{EOS}", "thinking")
    assert (parsed.reasoning, parsed.content, parsed.problems) == ("2+2 is 4.", "Four.", ())


def test_chat_mode_starts_with_content() -> None:
    assert parse(f"Four.{EOS}").content == "Four."


def test_text_that_cannot_become_markup_is_not_held_back() -> None:
    parser = OutputParser("chat")
    assert parser.push("Hello, wor") == [TextDelta("Hello, wor")]
    assert parser.push("ld <") == [TextDelta("ld ")]
    assert parser.push("b") == [TextDelta("<b")]
    assert parser.push("\n\n\n") == [TextDelta("\n")]
    assert parser.push("x") == [TextDelta("\n\nx")]


def test_what_looked_like_markup_is_shown_at_the_end_of_the_answer() -> None:
    parser = OutputParser("chat")
    assert parser.push("a <｜DS") == [TextDelta("a ")]
    assert parser.finish() == [TextDelta("<｜DS")]


def test_a_tool_call_gives_its_name_and_json_arguments() -> None:
    calls = block(
        invoke("f", parameter("city", "Rome"), parameter("days", "2", "false")),
        invoke("g", parameter("deep", '{"x": [1, null, "ü"]}', "false")),
        invoke("now"),
    )
    parsed = parse(f"I look.</think>Wait{calls}{EOS}", "thinking")
    assert (parsed.reasoning, parsed.content) == ("I look.", "Wait")
    assert parsed.names == ["f", "g", "now"]
    assert parsed.arguments == ['{"city": "Rome", "days": 2}', '{"deep": {"x": [1, null, "ü"]}}', "{}"]
    assert parsed.problems == ()


def test_string_arguments_stream_and_are_escaped_as_they_come() -> None:
    parser = OutputParser("chat", new_call_id=lambda: "id")
    assert parser.push(f'<{D}tool_calls>\n<{D}invoke name="f">\n') == [ToolCallStarted(0, "id", "f")]
    assert parser.push(f'<{D}parameter name="a" string="true">say "') == [ToolArgumentsDelta(0, '{"a": "say \\"')]
    assert parser.push("\\\t") == [ToolArgumentsDelta(0, "\\\\\\t")]
    assert parser.push("\n") == []
    assert parser.push(f"</{D}parameter>") == [ToolArgumentsDelta(0, '\\n"')]
    assert parser.push(f"\n</{D}invoke>") == [ToolArgumentsDelta(0, "}")]
    assert parser.tool_call_count == 1


def test_exactly_the_empty_line_before_a_block_belongs_to_the_block() -> None:
    assert parse("a\n" + block(invoke("f"))).content == "a\n"
    assert parse("a" + block(invoke("f"))[1:]).content == "a"
    assert parse(block(invoke("f"))).content == ""


def test_other_markup_inside_a_string_argument_is_the_tools_business() -> None:
    text = f"<think>x</think> <｜User｜> <{D}tool_calls> {D} <{D}nonsense>"
    parsed = parse(block(invoke("f", parameter("a", text))))
    assert parsed.objects == [{"a": text}]


@pytest.mark.parametrize(
    "value", ["Rome", "", "NaN", "[1, 2", "{'a': 1}", "01", "[" * 100_000], ids=lambda value: value[:10]
)
def test_a_value_that_is_no_json_becomes_a_string(value: str) -> None:
    events, problems = run_parser([block(invoke("f", parameter("a", value, "false")))], "chat")
    arguments = "".join(event.text for event in events if isinstance(event, ToolArgumentsDelta))
    assert json.loads(arguments) == {"a": value}
    assert problems == ("the value of parameter 'a' is not JSON and became a string",)


@pytest.mark.parametrize("opener", ["toolcalls", "tool", "tool_calls"])
def test_variants_of_the_opener_are_understood(opener: str) -> None:
    parsed = parse(f"ok\n\n<{D}{opener}>\n{invoke('f', parameter('a', 'x'))}\n</{D}tool_calls>{EOS}")
    assert (parsed.content, parsed.objects) == ("ok", [{"a": "x"}])


def test_a_call_without_an_opener_is_understood() -> None:
    parsed = parse("ok\n\n" + invoke("f", parameter("a", "x")) + "\nbye" + EOS)
    assert (parsed.content, parsed.objects) == ("ok", [{"a": "x"}])
    assert "a call came without the block's opener" in parsed.problems


def test_calls_inside_the_reasoning_end_it() -> None:
    parsed = parse("I will look." + block(invoke("f")) + EOS, "thinking")
    assert (parsed.reasoning, parsed.content, parsed.names) == ("I will look.", "", ["f"])
    assert parsed.problems == ("the tool calls began inside the reasoning",)


def test_a_missing_string_attribute_is_decided_by_the_value() -> None:
    number = f'<{D}parameter name="a">2</{D}parameter>'
    text = f'<{D}parameter name="b">two</{D}parameter>'
    assert parse(block(invoke("f", number, text))).objects == [{"a": 2, "b": "two"}]


def test_a_missing_parameter_end_is_mended_at_the_next_tag() -> None:
    first = f'<{D}parameter name="a" string="true">one'
    last = f'<{D}parameter name="b" string="true">two'
    parsed = parse(block(invoke("f", first, last)))
    assert parsed.objects == [{"a": "one", "b": "two"}]
    assert "a parameter has no closing tag: another parameter came first" in parsed.problems


@pytest.mark.parametrize("end", [f"</{D}tool_calls>{EOS}", EOS, ""])
def test_a_missing_call_end_is_mended_at_the_end_of_the_block_or_answer(end: str) -> None:
    parsed = parse(f'<{D}tool_calls>\n<{D}invoke name="f">\n{parameter("a", "x")}\n{end}')
    assert parsed.objects == [{"a": "x"}]
    assert any("a call has no closing tag" in problem for problem in parsed.problems)


def test_a_missing_call_end_is_mended_at_the_next_call() -> None:
    parsed = parse(f'<{D}tool_calls>\n<{D}invoke name="f">\n{invoke("g")}\n</{D}tool_calls>')
    assert (parsed.names, parsed.arguments) == (["f", "g"], ["{}", "{}"])


def test_duplicate_and_stray_thinking_tokens_are_ignored() -> None:
    parsed = parse("<think>why</think>be</think>cause<think>!", "thinking")
    assert (parsed.reasoning, parsed.content) == ("why", "because!")


def test_text_after_the_block_is_dropped() -> None:
    parsed = parse("ok" + block(invoke("f")) + "\nI called it.</think>" + EOS)
    assert parsed.content == "ok"
    assert parsed.problems == ("text after the calls was dropped",)


@pytest.mark.parametrize("name", ["arguments", "input"])
@pytest.mark.parametrize("kind", ["true", "false"])
def test_a_lone_wrapper_is_unwrapped_when_the_schema_knows_its_keys(name: str, kind: str) -> None:
    wrapped = block(invoke("f", parameter(name, ' {"a": 1, "b": "x"}', kind)))
    assert parse(wrapped, tools=TOOLS).objects == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (invoke("f", parameter("input", '{"c": 1}', "false")), {"input": {"c": 1}}),
        (invoke("f", parameter("input", "plain")), {"input": "plain"}),
        (invoke("f", parameter("input", '{"a": 1}'), parameter("b", "x")), {"input": '{"a": 1}', "b": "x"}),
        (invoke("w", parameter("input", '{"a": 1}')), {"input": '{"a": 1}'}),
        (invoke("unknown", parameter("input", '{"a": 1}')), {"input": '{"a": 1}'}),
    ],
)
def test_what_only_looks_like_a_wrapper_stays_a_parameter(text: str, expected: object) -> None:
    assert parse(block(text), tools=TOOLS).objects == [expected]


def test_of_a_duplicate_parameter_the_first_is_kept() -> None:
    parsed = parse(block(invoke("f", parameter("a", "1"), parameter("a", "2"))))
    assert parsed.arguments == ['{"a": "1"}']
    assert "parameter 'a' was given twice, the first is kept" in parsed.problems


def test_calls_and_parameters_without_a_name_are_dropped() -> None:
    nameless = f"<{D}invoke>\n{parameter('a', '1')}\n</{D}invoke>"
    parsed = parse(block(nameless, invoke("f", f'<{D}parameter string="true">1</{D}parameter>', parameter("b", "2"))))
    assert (parsed.names, parsed.objects) == (["f"], [{"b": "2"}])


def test_a_mention_of_the_marker_does_not_swallow_the_text_around_it() -> None:
    parsed = parse(f"The {D} token, as in <{D}, is special.")
    assert parsed.content == "The  token, as in , is special."
    assert parsed.names == []


def test_generation_that_ignores_the_end_goes_on_as_text() -> None:
    assert parse(f"one{EOS}two").content == "onetwo"


def test_a_cut_answer_leaves_its_call_open_so_that_nobody_runs_half_of_it() -> None:
    text = f'<{D}tool_calls>\n<{D}invoke name="f">\n<{D}parameter name="a" string="true">rm -rf /'
    parsed = parse(text, truncated=True)
    assert parsed.arguments == ['{"a": "rm -rf /']
    assert parse(text).objects == [{"a": "rm -rf /"}]


def test_a_cut_answer_does_not_show_the_beginning_of_markup() -> None:
    assert parse("so\n\n<", truncated=True).content == "so"


def test_a_generated_call_id_is_new_each_time() -> None:
    parser = OutputParser("chat")
    ids = {e.id for e in parser.push(block(invoke("f"), invoke("f"))) if isinstance(e, ToolCallStarted)}
    assert len(ids) == 2


@pytest.mark.parametrize("thinking", MODES)
@pytest.mark.parametrize("truncated", [False, True])
def test_events_do_not_depend_on_how_the_output_was_cut(thinking: ThinkingMode, truncated: bool) -> None:
    rng = random.Random(4)
    for _ in range(400):
        text = random_output(rng)
        whole = run_parser([text], thinking, tools=TOOLS, truncated=truncated)
        for fragments in (list(text), random_fragments(rng, text)):
            assert run_parser(fragments, thinking, tools=TOOLS, truncated=truncated) == whole, fragments


@pytest.mark.parametrize("thinking", MODES)
def test_no_markup_ever_shows_in_text_and_all_arguments_are_json(thinking: ThinkingMode) -> None:
    rng = random.Random(5)
    for _ in range(1500):
        text = random_output(rng)
        events, _ = run_parser(random_fragments(rng, text), thinking, tools=TOOLS)
        arguments: dict[int, str] = {}
        for event in events:
            if isinstance(event, TextDelta):
                assert not [token for token in MARKUP_TOKENS if token in event.text], text
            elif isinstance(event, ToolArgumentsDelta):
                arguments[event.index] = arguments.get(event.index, "") + event.text
            else:
                arguments[event.index] = ""
        assert all(isinstance(json.loads(piece), dict) for piece in arguments.values()), text


def random_message(rng: random.Random, thinking: ThinkingMode) -> ChatMessage:
    words = ["a", " b", "\n", "\n\n", "<", "｜", "你", "😀", '"', "\\", "</", "{", ">"]

    def text() -> str:
        return "".join(rng.choices(words, k=rng.randrange(8)))

    def value() -> object:
        return rng.choice([text(), rng.randrange(100), 1.5, None, True, [text(), 1], {text(): text()}])

    calls = tuple(
        ToolCall(
            f"call_{i}", rng.choice("fgh"), json.dumps({k: value() for k in rng.sample("xyz", 2)}, ensure_ascii=False)
        )
        for i in range(rng.randrange(3))
    )
    return ChatMessage("assistant", text(), reasoning=text() if thinking == "thinking" else None, tool_calls=calls)


@pytest.mark.parametrize("thinking", MODES)
def test_parsing_an_encoded_answer_gives_the_answer_back(thinking: ThinkingMode) -> None:
    rng = random.Random(6)
    for _ in range(200):
        message = random_message(rng, thinking)
        question = ChatMessage("user", "go")
        prompt = encode_chat([question], thinking=thinking)
        whole = encode_chat([question, message], thinking=thinking, transcript=True)
        assert whole.startswith(prompt)
        parsed = parse(whole[len(prompt) :], thinking)
        calls = zip(parsed.names, parsed.arguments, strict=True)
        back = ChatMessage(
            "assistant",
            parsed.content,
            reasoning=parsed.reasoning if thinking == "thinking" else None,
            tool_calls=tuple(ToolCall(f"call_{i}", name, text) for i, (name, text) in enumerate(calls)),
        )
        assert (back, parsed.problems) == (message, ())
