"""Claude Code and Codex complete turns against this server: a short one on the demo, and one that uses a tool.

The demo's context holds 2,048 tokens, and the agents' own prompts 10,000 and more. So on the demo they are asked with
a short system prompt and without their tools; their full prompts meet an engine that follows a script.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.agent import Agent

pytestmark = pytest.mark.agents

DEMO = ("-m", "dspark_local", "serve", "--port", "0")
SHELL = ("-m", "tests.agents.shell_engine")
SHORT_CODEX = (
    "model_instructions_file='terse.md'",
    "include_environment_context=false",
    "include_permissions_instructions=false",
    "skills.include_instructions=false",
    "features.shell_tool=false",
    "features.unified_exec=false",
    "features.goals=false",
)


def codex_items(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def codex_said(printed: str) -> list[str]:
    items = [event["item"] for event in codex_items(printed) if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


def test_claude_code_is_answered_by_the_demo(serve: Callable[..., str], claude_code: Callable[[str], Agent]) -> None:
    agent = claude_code(serve(*DEMO))
    told = json.loads(agent.ask("What is 2 + 2?", "--bare", "--system-prompt", "You are terse.", "--tools", ""))
    assert (told["is_error"], told["num_turns"], told["stop_reason"]) == (False, 1, "end_turn")
    assert "4" in told["result"]
    assert 0 < told["usage"]["input_tokens"] < 2048
    assert told["usage"]["output_tokens"] > 0


def test_claude_code_runs_a_tool_and_reads_its_result(
    serve: Callable[..., str], claude_code: Callable[[str], Agent]
) -> None:
    told = json.loads(claude_code(serve(*SHELL)).ask("How many apples?", "--allowed-tools", "Bash"))
    assert (told["is_error"], told["num_turns"]) == (False, 2)
    assert told["result"] == "It said: 42 apples"


def test_codex_is_answered_by_the_demo(serve: Callable[..., str], codex: Callable[[str], Agent]) -> None:
    settings = [word for setting in SHORT_CODEX for word in ("-c", setting)]
    printed = codex(serve(*DEMO)).ask("What is 2 + 2?", *settings)
    assert "4" in codex_said(printed)[-1]
    assert codex_items(printed)[-1]["type"] == "turn.completed"


def test_codex_runs_a_tool_and_reads_its_result(serve: Callable[..., str], codex: Callable[[str], Agent]) -> None:
    printed = codex(serve(*SHELL)).ask("How many apples?", "--dangerously-bypass-approvals-and-sandbox")
    assert codex_said(printed)[0] == "I count."
    assert "42 apples" in codex_said(printed)[-1]
