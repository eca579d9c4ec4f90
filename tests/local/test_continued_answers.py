"""An answer that was cut goes on as it would have: its reasoning, its content and its form."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from dspark_local.demo import weights_path
from dspark_local.errors import UsageError
from dspark_local.events import Finished, TextDelta
from dspark_local.native import NativeBackend
from dspark_local.protocols.chat_encoding import encode_chat
from dspark_local.request import (
    ChatMessage,
    ChatRequest,
    OutputFormat,
    SamplingSettings,
    SpeculationSettings,
    ThinkingMode,
    ToolCall,
)
from tests.local.scripted import scripted_backend

QUESTION = ChatMessage("user", "12 * 7?")
ANSWER = "Zwölf mal sieben\n\nist 84 🙂."
REASONING = "Hm, 世界."
HEAD = "<｜begin▁of▁sentence｜><｜User｜>12 * 7?<｜Assistant｜>"

Told = tuple[str, str, Finished]


def tell(
    backend: NativeBackend,
    *messages: ChatMessage,
    thinking: ThinkingMode = "chat",
    sampling: SamplingSettings | None = None,
    spec: str = "auto",
    form: OutputFormat | None = None,
) -> Told:
    """(reasoning, content, the end) of one answer."""
    sampling = sampling or SamplingSettings(temperature=0.0, max_tokens=200)
    speculation = SpeculationSettings.parse(spec)
    request = ChatRequest(messages, sampling, speculation, thinking=thinking, output_format=form)
    said = {"reasoning": "", "content": ""}
    for event in backend.chat(request, lambda: False):
        if isinstance(event, TextDelta):
            said[event.channel] += event.text
        elif isinstance(event, Finished):
            return said["reasoning"], said["content"], event
    raise AssertionError("an answer ends with Finished")


def begun(content: str = "", reasoning: str | None = None) -> ChatMessage:
    return ChatMessage("assistant", content, reasoning=reasoning, prefix=True)


@pytest.mark.parametrize(
    ("message", "thinking", "end"),
    [
        (begun("Twelve"), "chat", "</think>Twelve"),
        (begun("Twelve", "So."), "chat", "</think>Twelve"),
        (begun("Twelve", "So."), "thinking", "<think>So.</think>Twelve"),
        (begun("Twelve"), "thinking", "<think></think>Twelve"),
        (begun(reasoning="So"), "thinking", "<think>So"),
        (begun(), "thinking", "<think>"),
        (begun(), "chat", "</think>"),
    ],
)
def test_the_prompt_ends_where_the_answer_was_cut(message: ChatMessage, thinking: ThinkingMode, end: str) -> None:
    assert encode_chat([QUESTION, message], thinking=thinking) == HEAD + end


def test_a_cut_answer_is_the_beginning_of_the_prompt_that_holds_it_whole() -> None:
    whole = encode_chat(
        [QUESTION, ChatMessage("assistant", "84", reasoning="So")], thinking="thinking", transcript=True
    )
    for cut in (begun(reasoning="S"), begun("8", "So"), begun("84", "So")):
        assert whole.startswith(encode_chat([QUESTION, cut], thinking="thinking"))


def test_only_the_last_message_of_the_assistant_that_calls_no_tool_can_go_on() -> None:
    with pytest.raises(UsageError, match="role user"):
        ChatMessage("user", "a", prefix=True)
    with pytest.raises(UsageError, match="called a tool"):
        ChatMessage("assistant", tool_calls=(ToolCall("c", "f", "{}"),), prefix=True)
    with pytest.raises(UsageError, match="not the last"):
        ChatRequest((QUESTION, begun("a"), QUESTION))
    with pytest.raises(UsageError, match="ends with a message of role assistant"):
        encode_chat([QUESTION, ChatMessage("assistant", "a")], thinking="chat")


@pytest.mark.parametrize("spec", ["off", "static:5"])
def test_wherever_an_answer_is_cut_the_rest_is_what_it_would_have_been(tmp_path: Path, spec: str) -> None:
    backend = scripted_backend(tmp_path, ANSWER, REASONING)
    for cut in range(len(REASONING)):
        reasoning, content, _ = tell(
            backend, QUESTION, begun(reasoning=REASONING[:cut]), thinking="thinking", spec=spec
        )
        assert (REASONING[:cut] + reasoning, content) == (REASONING, ANSWER)
    for cut in range(1, len(ANSWER) + 1):
        modes: tuple[ThinkingMode, ...] = ("chat", "thinking")
        for thinking in modes:
            message = begun(ANSWER[:cut], REASONING if thinking == "thinking" else None)
            reasoning, content, done = tell(backend, QUESTION, message, thinking=thinking, spec=spec)
            assert (reasoning, ANSWER[:cut] + content, done.reason) == ("", ANSWER, "stop")
            assert done.stats.reasoning_tokens == 0
    backend.close()


@pytest.fixture(scope="module")
def demo() -> NativeBackend:
    return NativeBackend.load(weights_path(), dtype="float32")


@pytest.mark.parametrize("thinking", ["chat", "thinking"])
def test_the_demo_goes_on_token_for_token(demo: NativeBackend, thinking: ThinkingMode) -> None:
    """Exact wherever cutting the text into tokens again gives the tokens that were there, which most cuts do."""
    question = ChatMessage("user", "Write a Python function that adds two numbers.")
    settings = SamplingSettings(temperature=0.0, max_tokens=48)
    *_, whole = tell(demo, question, thinking=thinking, sampling=settings)
    ids, tokenizer = whole.token_ids, demo.tokenizer
    close = ids.index(tokenizer.token_id("</think>")) if thinking == "thinking" else -1
    exact = 0
    cuts = range(1, len(ids) - 1, 5)
    for k in cuts:
        thought = tokenizer.decode(ids[: min(k, max(close, 0))])
        text = tokenizer.decode(ids[close + 1 : k]) if k > close + 1 else ""
        if tokenizer.encode_text(thought + text) != [i for i in ids[:k] if i != ids[close] or close < 0]:
            continue
        if k == close + 1:
            continue  # between reasoning and content stands nothing that a message could hold
        *_, rest = tell(demo, question, begun(text, thought or None), thinking=thinking, sampling=settings)
        exact += 1
        assert rest.token_ids[: len(ids) - k] == ids[k:]
    assert exact >= 0.7 * len(cuts)


@pytest.mark.parametrize("beginning", ['{"', '{"a": 1', '{"a": 12, "b": "x'])
def test_a_form_holds_for_the_beginning_and_the_rest_together(tmp_path: Path, beginning: str) -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 5}}
    schema = {"type": "object", "properties": properties, "required": ["a", "b"], "additionalProperties": False}
    backend = scripted_backend(tmp_path, "never mind", context_length=512)
    _, rest, _ = tell(backend, QUESTION, begun(beginning), form=OutputFormat("json_schema", schema))
    jsonschema.validate(json.loads(beginning + rest), schema)
    with pytest.raises(UsageError, match="does not begin in the form"):
        tell(backend, QUESTION, begun("Sure: {"), form=OutputFormat("json_schema", schema))
    backend.close()
