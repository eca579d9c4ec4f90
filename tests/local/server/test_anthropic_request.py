"""What a body of /v1/messages becomes before the engine sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dspark_local.backend import ModelInfo
from dspark_local.errors import UsageError
from dspark_local.protocols.chat_encoding import encode_chat
from dspark_local.request import ChatRequest, NamedTool, OutputFormat
from dspark_local.server.anthropic_request import to_chat_request
from dspark_local.server.schemas.anthropic import MessagesRequest

INFO = ModelInfo("v4", 4096, recommended_temperature=0.6, recommended_top_p=0.95)
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
BILLING = "x-anthropic-billing-header: cc_version=2.1.197; cch=4f2a1;"


def asked(*messages: tuple[str, Any], **extra: Any) -> ChatRequest:
    turns = [{"role": role, "content": content} for role, content in messages] or [{"role": "user", "content": "hi"}]
    body = {"model": "v4", "max_tokens": 100, "messages": turns} | extra
    return to_chat_request(MessagesRequest.model_validate(body), INFO)


def encoded(request: ChatRequest) -> str:
    return encode_chat(
        request.messages, thinking=request.thinking, reasoning_effort=request.reasoning_effort, tools=request.tools
    )


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value, "cache_control": {"type": "ephemeral"}}


def test_the_system_prompt_may_be_text_or_blocks() -> None:
    assert asked(system="Be brief.").messages[0].content == "Be brief."
    request = asked(system=[text("Be brief."), text("Be kind.")])
    assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief.\n\nBe kind."), ("user", "hi")]


def test_the_billing_header_is_dropped_so_that_prompts_share_their_beginning() -> None:
    with_header = asked(system=[text(BILLING), text("You are an agent.")])
    assert encoded(with_header) == encoded(asked(system="You are an agent."))
    assert encoded(asked(system=f"{BILLING}\nYou are an agent.")) == encoded(with_header)
    assert [m.role for m in asked(system=[text(BILLING)]).messages] == ["user"]


def test_a_turn_with_tools_comes_back_as_the_model_wrote_it() -> None:
    call = {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "Zürich", "days": 2}}
    request = asked(
        ("user", "weather?"),
        ("assistant", [{"type": "thinking", "thinking": "Call it.", "signature": "s"}, text("I look."), call]),
        ("user", [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}, text("and now?")]),
        tools=[LOOK],
        thinking={"type": "adaptive"},
    )
    prompt = encoded(request)
    assert "<think>Call it.</think>I look.\n\n<｜DSML｜tool_calls>" in prompt
    assert '<｜DSML｜parameter name="at" string="true">Zürich</｜DSML｜parameter>' in prompt
    assert prompt.endswith("<｜User｜><tool_result>sunny</tool_result>\n\nand now?<｜Assistant｜><think>")
    assert json.dumps({"name": "look", "description": "Looks.", "parameters": LOOK["input_schema"]}) in prompt


def test_a_system_message_between_turns_does_not_run_into_the_users_words() -> None:
    request = asked(("user", "Look."), ("system", "Agents: none."))
    assert "<｜User｜>Look.\n\n<system-reminder>\nAgents: none.\n</system-reminder><｜Assistant｜>" in encoded(request)


def test_neighbouring_assistant_turns_become_one() -> None:
    request = asked(("user", "a"), ("assistant", "b"), ("assistant", [text("c")]), ("user", "d"))
    assert [(m.role, m.content) for m in request.messages] == [("user", "a"), ("assistant", "bc"), ("user", "d")]


def test_a_failed_tool_says_so_and_its_pictures_are_named_instead_of_refused() -> None:
    call = {"type": "tool_use", "id": "c", "name": "look", "input": {}}
    parts = [text("seen"), {"type": "image", "source": {"type": "base64", "data": "AA=="}}]
    result = {"type": "tool_result", "tool_use_id": "c", "content": parts, "is_error": True}
    request = asked(("user", "?"), ("assistant", [call]), ("user", [result]))
    assert request.messages[-1].content == "Error: seen\n\n[Unsupported image]"


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"type": "image", "source": {"type": "base64", "data": "AA=="}}, "reads text only"),
        ({"type": "document", "source": {"type": "url", "url": "http://169.254.169.254/"}}, "reads text only"),
        ({"type": "telepathy"}, "'telepathy' cannot be read"),
        ({"type": "tool_result", "content": "x"}, "tool_use_id"),
    ],
)
def test_blocks_that_cannot_be_read_are_refused_with_their_place(block: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=rf"messages\.1\.content.*{reason}"):
        asked(("user", "hi"), ("user", [block]))


def test_a_document_of_plain_text_is_read() -> None:
    block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Chapter 1."}}
    assert asked(("user", [block, text("Sum it up.")])).messages[0].content == "Chapter 1."


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("chat", None)),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, ("chat", None)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, ("thinking", None)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, ("thinking", None)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, ("thinking", "high")),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, ("thinking", "max")),
    ],
)
def test_thinking_and_effort_become_the_models_own_modes(given: dict[str, Any], expected: tuple[Any, Any]) -> None:
    request = asked(**given)
    assert (request.thinking, request.reasoning_effort) == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "look"}, NamedTool("look")),
    ],
)
def test_tool_choice_keeps_its_meaning(choice: Any, expected: Any) -> None:
    assert asked(tools=[LOOK], tool_choice=choice).tool_choice == expected


def test_parallel_use_of_tools_can_be_switched_off() -> None:
    choice = {"type": "any", "disable_parallel_tool_use": True}
    assert not asked(tools=[LOOK], tool_choice=choice).parallel_tool_calls
    assert asked(tools=[LOOK], tool_choice={"type": "any"}).parallel_tool_calls


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="'listen'"):
        asked(tools=[LOOK], tool_choice={"type": "tool", "name": "listen"})


def test_tools_that_anthropic_runs_itself_are_left_out() -> None:
    request = asked(tools=[LOOK, {"type": "web_search_20250305", "name": "web_search"}])
    assert [tool["function"]["name"] for tool in request.tools] == ["look"]


def test_sampling_settings_left_out_are_the_models_own() -> None:
    sampling = asked(stop_sequences=["END"], top_k=40).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.6, 0.95, 40)
    assert (sampling.max_tokens, sampling.stop) == (100, ("END",))
    assert asked(temperature=0.0).sampling.is_greedy


def test_a_json_schema_becomes_the_form_of_the_answer() -> None:
    schema = {"type": "object"}
    request = asked(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert request.output_format == OutputFormat("json_schema", schema)


def test_what_steers_somebody_elses_service_is_ignored() -> None:
    request = asked(
        metadata={"user_id": "u"},
        service_tier="auto",
        context_management={"edits": []},
        container=None,
        speed="fast",
        mcp_servers=[],
    )
    assert request == asked()


@pytest.mark.parametrize("name", ["claude-opus-4-8", "claude-haiku-9", "v4"])
def test_any_claude_is_the_loaded_model(name: str) -> None:
    assert asked(model=name) == asked()


@pytest.mark.parametrize("name", ["", "Claude", "gpt-9", "../v4", "https://example.org/v4"])
def test_other_models_are_not_here(name: str) -> None:
    with pytest.raises(UsageError, match="There is no model"):
        asked(model=name)
