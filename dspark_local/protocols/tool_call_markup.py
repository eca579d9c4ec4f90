"""Tool calls of earlier turns, written in DSML as the model itself writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dspark_local.protocols.segments import Segment, content, joined, markup
from dspark_local.protocols.special_tokens import DSML
from dspark_local.protocols.system_blocks import to_wire_json
from dspark_local.request import ToolCall


def tool_calls_block(calls: Sequence[ToolCall]) -> list[Segment]:
    """The whole block, without the empty line that separates it from the content."""
    invokes = joined(markup("\n"), [_invoke(call) for call in calls])
    return [markup(f"<{DSML}tool_calls>\n"), *invokes, markup(f"\n</{DSML}tool_calls>")]


def _invoke(call: ToolCall) -> list[Segment]:
    head = [markup(f'<{DSML}invoke name="'), content(call.name), markup('">\n')]
    parameters = [_parameter(name, value) for name, value in _arguments(call).items()]
    return [*head, *joined(markup("\n"), parameters), markup(f"\n</{DSML}invoke>")]


def _parameter(name: str, value: object) -> list[Segment]:
    is_string = isinstance(value, str)
    return [
        markup(f'<{DSML}parameter name="'),
        content(name),
        markup(f'" string="{"true" if is_string else "false"}">'),
        content(value if isinstance(value, str) else to_wire_json(value)),
        markup(f"</{DSML}parameter>"),
    ]


def _arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments as an object; what is no JSON object becomes one string parameter named "arguments"."""
    try:
        parsed = json.loads(call.arguments)
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"arguments": call.arguments}
