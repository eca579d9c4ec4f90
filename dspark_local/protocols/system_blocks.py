"""The two blocks that a system or developer message may carry: tool schemas and the response format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dspark_local.errors import UsageError
from dspark_local.protocols.segments import Segment, content, joined, markup
from dspark_local.protocols.special_tokens import DSML, THINK_CLOSE, THINK_OPEN

# A wire constant in the release's own form, placeholders included, so that its digest can be checked.
TOOLS_TEMPLATE = """## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a \
"<{dsml_token}tool_calls>" block like the following:

<{dsml_token}tool_calls>
<{dsml_token}invoke name="$TOOL_NAME">
<{dsml_token}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{dsml_token}parameter>
...
</{dsml_token}invoke>
<{dsml_token}invoke name="$TOOL_NAME2">
...
</{dsml_token}invoke>
</{dsml_token}tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, \
objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by {thinking_start_token}), you MUST output your complete reasoning inside \
{thinking_start_token}...{thinking_end_token} BEFORE any tool calls or final response.

Otherwise, output directly after {thinking_end_token} with tool calls or final response.

### Available Tool Schemas

{tool_schemas}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""

RESPONSE_FORMAT_HEAD = "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"

_HEAD, _TAIL = (
    part.format(dsml_token=DSML, thinking_start_token=THINK_OPEN, thinking_end_token=THINK_CLOSE)
    for part in TOOLS_TEMPLATE.split("{tool_schemas}")
)


def to_wire_json(value: object) -> str:
    """JSON as the release writes it: ", " and ": " between items, non-ASCII kept."""
    return json.dumps(value, ensure_ascii=False)


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The "function" object of an OpenAI tool; UsageError without one that has a name."""
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UsageError(
            f"A tool is not of the known form: {to_wire_json(dict(tool))[:200]}.",
            hint='Use {"type": "function", "function": {"name": ..., "description": ..., "parameters": ...}}.',
        )
    return function


def tools_block(tools: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """One schema a line between the fixed texts. The schemas are content: they come with the request."""
    schemas = [[content(to_wire_json(function_of(tool)))] for tool in tools]
    return [markup(_HEAD), *joined(content("\n"), schemas), markup(_TAIL)]


def response_format_block(schema: Mapping[str, Any]) -> list[Segment]:
    """The JSON schema that the answer has to follow."""
    return [markup(RESPONSE_FORMAT_HEAD), content(to_wire_json(schema))]
