"""The tools of a request, and which of them must be called.

Agents offer kinds of tools that only their own service can run; those are left out, as nobody could call them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dspark_local.request import NamedTool, ToolChoice
from dspark_local.server.faults import RequestFaultError

_NAME = re.compile(r'[^\s"<>\\]{1,256}')  # what the model's markup can carry between quotes


def function_tools(tools: Sequence[Mapping[str, Any]] | None) -> tuple[Mapping[str, Any], ...]:
    """The functions, in the form of chat completions; responses name and describe a function beside its type.

    Raises RequestFaultError for a function whose name or schema no answer could follow.
    """
    found: list[Mapping[str, Any]] = []
    for number, tool in enumerate(tools or ()):
        if tool.get("type", "function") != "function":
            continue
        where = f"tools.{number}.function" if "function" in tool else f"tools.{number}"
        function = tool.get("function", tool)
        if not isinstance(function, Mapping):
            raise RequestFaultError(f"{where} must be an object.", param=where)
        found.append({"type": "function", "function": _checked(function, where)})
    return tuple(found)


def _checked(function: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    name, schema = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestFaultError(
            f"{where}.name must be 1 to 256 characters, without spaces, quotes or angle brackets.",
            param=f"{where}.name",
        )
    if schema is not None and not isinstance(schema, Mapping):
        raise RequestFaultError(f"{where}.parameters must be an object.", param=f"{where}.parameters")
    if not _is_sound(schema or {}):
        raise RequestFaultError(
            f"{where}.parameters must be a JSON schema: an object of properties, and a list of those required.",
            param=f"{where}.parameters",
        )
    # How a service shall treat the function is no concern of the model, and would change its prompt.
    return {key: function[key] for key in ("name", "description", "parameters") if function.get(key) is not None}


def _is_sound(schema: Mapping[str, Any]) -> bool:
    properties, required = schema.get("properties"), schema.get("required")
    return (properties is None or isinstance(properties, Mapping)) and (
        required is None or (isinstance(required, list) and all(isinstance(name, str) for name in required))
    )


def tool_choice_of(choice: str | Mapping[str, Any] | None) -> ToolChoice:
    """Any of OpenAI's forms: a word, {"type": "function", "name"} or {"type": "function", "function": {"name"}}."""
    if choice is None or choice == "auto":
        return "auto"
    if choice == "none":
        return "none"
    if choice == "required":
        return "required"
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and name:
            return NamedTool(name)
    raise RequestFaultError(
        "tool_choice must be auto, none, required, or name one function.",
        code="unsupported_value",
        param="tool_choice",
    )
