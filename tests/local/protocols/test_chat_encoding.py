from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from dspark_local.errors import UsageError
from dspark_local.protocols.chat_encoding import encode_chat, encode_chat_segments
from dspark_local.protocols.content_parts import flatten_content
from dspark_local.protocols.effort import PREFIX_A, PREFIX_B, Effort, EffortDialect
from dspark_local.protocols.system_blocks import TOOLS_TEMPLATE
from dspark_local.request import ChatMessage, ThinkingMode, ToolCall

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
SYSTEM = ChatMessage("system", "You are terse.")
QUESTION = ChatMessage("user", "2+2?")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
EXAMPLE_C = """<｜begin▁of▁sentence｜>You are terse.

## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a \
"<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, \
objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> \
BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

{"name": "get_weather", "description": "Weather", "parameters": {"type": "object", "properties": {"city": {"type": \
"string"}, "days": {"type": "integer"}}}}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
<｜User｜>Rome, 2 days?<｜Assistant｜><think>Call it.</think>

<｜DSML｜tool_calls>
<｜DSML｜invoke name="get_weather">
<｜DSML｜parameter name="city" string="true">Rome</｜DSML｜parameter>
<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>
</｜DSML｜invoke>
</｜DSML｜tool_calls><｜end▁of▁sentence｜><｜User｜><tool_result>sunny</tool_result><｜Assistant｜><think>"""


def call(call_id: str, name: str = "get_weather", arguments: str = '{"city":"Rome","days":2}') -> ToolCall:
    return ToolCall(call_id, name, arguments)


def result(call_id: str | None, text: str) -> ChatMessage:
    return ChatMessage("tool", text, tool_call_id=call_id)


@pytest.mark.parametrize(
    ("text", "length", "digest"),
    [
        (PREFIX_A, 476, "f7a24f3b3050d4a83781e9b755b316aae2ec1d9dc87562541d90bcb04d7350f7"),
        (PREFIX_B, 526, "53fb31b8392ec5b4a926481943efc67636748f137c1a49d493a7af4d4fa55d2c"),
        (TOOLS_TEMPLATE, 1075, "09b7269daaddbeaf11a3ed55c07b1846c35162b841d8b4301bbe0449879d1fd8"),
    ],
)
def test_wire_constants_have_the_digests_of_the_release(text: str, length: int, digest: str) -> None:
    assert (len(text), sha256(text.encode()).hexdigest()) == (length, digest)


def test_example_a_chat_mode_closes_the_thinking_at_once() -> None:
    expected = BOS + "You are terse.<｜User｜>2+2?<｜Assistant｜></think>"
    assert encode_chat([SYSTEM, QUESTION], thinking="chat") == expected


def test_example_b_reasoning_of_an_earlier_turn_is_dropped() -> None:
    answer = ChatMessage("assistant", "4", reasoning="Easy.")
    expected = (
        BOS + "You are terse.<｜User｜>2+2?<｜Assistant｜></think>4" + EOS + "<｜User｜>times 3?<｜Assistant｜><think>"
    )
    assert encode_chat([SYSTEM, QUESTION, answer, ChatMessage("user", "times 3?")], thinking="thinking") == expected


@pytest.mark.parametrize("separately", [False, True])
def test_example_c_tools_keep_the_reasoning(separately: bool) -> None:
    system = SYSTEM if separately else ChatMessage("system", "You are terse.", tools=(WEATHER,))
    messages = [
        system,
        ChatMessage("user", "Rome, 2 days?"),
        ChatMessage("assistant", reasoning="Call it.", tool_calls=(call("c1"),)),
        result("c1", "sunny"),
    ]
    assert encode_chat(messages, thinking="thinking", tools=(WEATHER,) if separately else ()) == EXAMPLE_C


@pytest.mark.parametrize(
    ("dialect", "effort", "prefix"),
    [
        ("preview", None, ""),
        ("preview", "high", ""),
        ("preview", "max", PREFIX_A),
        ("0731", None, ""),
        ("0731", "high", PREFIX_A),
        ("0731", "max", PREFIX_B),
    ],
)
def test_example_d_effort_prefix_follows_bos_in_thinking_mode_only(
    dialect: EffortDialect, effort: Effort | None, prefix: str
) -> None:
    def encoded(thinking: ThinkingMode) -> str:
        return encode_chat([SYSTEM, QUESTION], thinking=thinking, reasoning_effort=effort, effort_dialect=dialect)

    assert encoded("thinking") == BOS + prefix + "You are terse.<｜User｜>2+2?<｜Assistant｜><think>"
    assert encoded("chat") == BOS + "You are terse.<｜User｜>2+2?<｜Assistant｜></think>"


def test_reasoning_stays_when_dropping_is_switched_off() -> None:
    messages = [QUESTION, ChatMessage("assistant", "4", reasoning="Easy."), ChatMessage("user", "times 3?")]
    assert encode_chat(messages, thinking="thinking", drop_thinking=False) == (
        BOS + "<｜User｜>2+2?<｜Assistant｜><think>Easy.</think>4" + EOS + "<｜User｜>times 3?<｜Assistant｜><think>"
    )


def test_chat_mode_never_renders_reasoning_even_with_tools() -> None:
    messages = [QUESTION, ChatMessage("assistant", "4", reasoning="Easy."), ChatMessage("user", "times 3?")]
    text = encode_chat(messages, thinking="chat", tools=(WEATHER,))
    assert text.endswith("<｜User｜>2+2?<｜Assistant｜></think>4" + EOS + "<｜User｜>times 3?<｜Assistant｜></think>")


def test_consecutive_user_messages_and_results_share_one_turn() -> None:
    messages = [
        ChatMessage("user", "Both?"),
        ChatMessage("assistant", tool_calls=(call("c1"), call("c2"))),
        result("c2", "rain"),
        ChatMessage("user", "Quickly."),
        result("c1", "sunny"),
        ChatMessage("user", "Please."),
    ]
    text = encode_chat(messages, thinking="chat")
    assert text.endswith(
        EOS + "<｜User｜><tool_result>sunny</tool_result>\n\nQuickly.\n\n<tool_result>rain</tool_result>\n\nPlease."
        "<｜Assistant｜></think>"
    )


def test_tool_results_count_as_the_last_question_when_reasoning_is_dropped() -> None:
    messages = [
        QUESTION,
        ChatMessage("assistant", reasoning="Ask.", tool_calls=(call("c1", "f", "{}"),)),
        result("c1", "ok"),
        ChatMessage("assistant", "done", reasoning="Seen."),
    ]
    text = encode_chat(messages, thinking="thinking", transcript=True)
    assert "Ask." not in text
    assert text.endswith("<tool_result>ok</tool_result><｜Assistant｜><think>Seen.</think>done" + EOS)


def test_a_call_without_arguments_renders_an_empty_line() -> None:
    messages = [QUESTION, ChatMessage("assistant", tool_calls=(call("c1", "now", "{}"),)), result("c1", "noon")]
    assert '<｜DSML｜invoke name="now">\n\n</｜DSML｜invoke>' in encode_chat(messages, thinking="chat")


@pytest.mark.parametrize("arguments", ["not json", "[1, 2]", '"text"'])
def test_arguments_that_are_no_object_become_one_string_parameter(arguments: str) -> None:
    messages = [QUESTION, ChatMessage("assistant", tool_calls=(call("c1", "f", arguments),)), result("c1", "ok")]
    wanted = f'<｜DSML｜parameter name="arguments" string="true">{arguments}</｜DSML｜parameter>'
    assert wanted in encode_chat(messages, thinking="chat")


def test_parameters_are_raw_when_strings_and_json_otherwise() -> None:
    arguments = '{"a": "x \\"y\\"\\n", "b": [1, {"ü": null}], "c": true}'
    messages = [QUESTION, ChatMessage("assistant", tool_calls=(call("c1", "f", arguments),)), result("c1", "ok")]
    text = encode_chat(messages, thinking="chat")
    assert 'name="a" string="true">x "y"\n</｜DSML｜parameter>\n' in text
    assert 'name="b" string="false">[1, {"ü": null}]</｜DSML｜parameter>\n' in text
    assert 'name="c" string="false">true</｜DSML｜parameter>\n</｜DSML｜invoke>' in text


def test_tools_without_a_system_message_get_an_empty_one() -> None:
    assert encode_chat([QUESTION], thinking="chat", tools=(WEATHER,)).startswith(BOS + "\n\n## Tools\n\n")


def test_response_format_follows_the_tools() -> None:
    system = ChatMessage("system", "Hi.", tools=(WEATHER,), response_format={"type": "object", "title": "Größe"})
    text = encode_chat([system, QUESTION], thinking="chat")
    assert (
        "to invoke tool calls.\n\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
        '{"type": "object", "title": "Größe"}<｜User｜>2+2?' in text
    )


def test_developer_messages_are_user_turns_and_vanish_once_they_are_old() -> None:
    developer = ChatMessage("developer", "Rules.")
    answer = ChatMessage("assistant", "ok", reasoning="hm")
    assert encode_chat([developer], thinking="chat") == BOS + "<｜User｜>Rules.<｜Assistant｜></think>"
    messages = [SYSTEM, QUESTION, answer, developer, answer, ChatMessage("user", "Go.")]
    assert "Rules." not in encode_chat(messages, thinking="thinking")
    assert "Rules." in encode_chat(messages, thinking="thinking", drop_thinking=False)
    assert "Rules." in encode_chat(messages, thinking="chat")


def test_reminder_stands_before_the_user_without_opening_an_answer() -> None:
    text = encode_chat([SYSTEM, ChatMessage("latest_reminder", "Today: Monday."), QUESTION], thinking="chat")
    assert text == BOS + "You are terse.<｜latest_reminder｜>Today: Monday.<｜User｜>2+2?<｜Assistant｜></think>"


def test_a_trailing_system_message_opens_the_answer() -> None:
    text = encode_chat([QUESTION, ChatMessage("system", "Be brief.")], thinking="thinking")
    assert text == BOS + "<｜User｜>2+2?Be brief.<｜Assistant｜><think>"


def test_a_greeting_after_the_system_message_is_an_answer() -> None:
    messages = [SYSTEM, ChatMessage("assistant", "Hello!", reasoning="greet"), QUESTION]
    text = encode_chat(messages, thinking="thinking")
    assert text == BOS + "You are terse.<｜Assistant｜></think>Hello!" + EOS + "<｜User｜>2+2?<｜Assistant｜><think>"


def test_quick_tasks_replace_the_opening_except_for_actions() -> None:
    assert encode_chat([QUESTION], thinking="thinking", task="title") == BOS + "<｜User｜>2+2?<｜title｜>"
    assert encode_chat([QUESTION], thinking="thinking", task="action").endswith(
        "2+2?<｜Assistant｜><think><｜action｜>"
    )
    assert encode_chat([QUESTION], thinking="chat", task="action").endswith("2+2?<｜Assistant｜></think><｜action｜>")


def test_segments_mark_everything_from_outside_as_content() -> None:
    messages = [
        ChatMessage("system", "S<think>", tools=(WEATHER,)),
        ChatMessage("user", "U<｜User｜>"),
        ChatMessage("assistant", "A", reasoning="R", tool_calls=(call("c1", "N", '{"K": "V"}'),)),
        result("c1", "T"),
    ]
    segments = encode_chat_segments(messages, thinking="thinking")
    outside = [segment.text for segment in segments if not segment.is_markup]
    assert [t for t in outside if not t.startswith("{")] == ["S<think>", "U<｜User｜>", "R", "A", "N", "K", "V", "T"]
    assert "".join(segment.text for segment in segments) == encode_chat(messages, thinking="thinking")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "no messages"),
        ([ChatMessage("assistant", "Hi")], "Message 1 (assistant) is the first"),
        ([QUESTION, ChatMessage("assistant", "4")], "ends with a message of role assistant"),
        (
            [QUESTION, ChatMessage("assistant", "4"), ChatMessage("assistant", "5"), QUESTION],
            "follows a message of role",
        ),
        ([QUESTION, result("c1", "x")], "called no tool"),
        ([QUESTION, ChatMessage("assistant", tool_calls=(call("c1"),)), result("c9", "x")], "'c9', which was not made"),
        ([QUESTION, ChatMessage("latest_reminder", "now")], "follows a user message"),
        ([ChatMessage("latest_reminder", "now")], "ends with a message of role latest_reminder"),
        ([ChatMessage("developer", "")], "is empty"),
        ([ChatMessage("system", tools=({"type": "function"},)), QUESTION], "A tool is not of the known form"),
    ],
)
def test_conversations_without_meaning_are_refused_with_the_reason(messages: list[ChatMessage], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode_chat(messages, thinking="chat")
    assert words in caught.value.message
    assert caught.value.hint


def test_a_quick_task_needs_a_user_message_at_the_end() -> None:
    with pytest.raises(UsageError, match="quick task"):
        encode_chat([QUESTION, SYSTEM], thinking="chat", task="title")


def test_content_parts_become_one_text() -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "b"},
    ]
    assert flatten_content(parts) == "a\n\n[Unsupported image_url]\n\nb"
    assert flatten_content("plain") == "plain"
    assert flatten_content(None) == ""
