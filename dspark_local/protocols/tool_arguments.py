"""DSML parameters to the JSON text of a call's arguments, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

_WRAPPERS = ("arguments", "input")


def schema_properties(tools: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Tool name -> names of its parameters, for OpenAI tool objects; tools without a readable schema are left out."""
    found: dict[str, frozenset[str]] = {}
    for tool in tools:
        function = tool.get("function")
        schema = function.get("parameters") if isinstance(function, Mapping) else None
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        if isinstance(function, Mapping) and isinstance(properties, Mapping):
            found[str(function.get("name"))] = frozenset(properties)
    return found


class ArgumentsWriter:
    """Writes one JSON object. All returned pieces joined are valid JSON once finish() has been called.

    A string parameter streams. Any other value is held until its end, because only then it is known to be JSON; what
    is not becomes a JSON string. The model sometimes puts the whole object into one parameter called "arguments" or
    "input": if the schema (properties) knows no such parameter but knows every key of that object, it is unwrapped.
    """

    def __init__(self, properties: frozenset[str] | None) -> None:
        self.problems: list[str] = []
        self._properties = properties
        self._names: set[str] = set()
        self._is_empty = True
        self._mode: Literal["stream", "hold", "wrapper", "discard"] = "discard"
        self._name = ""
        self._is_string: bool | None = None
        self._held: list[str] = []
        self._wrapped: str | None = None

    def begin(self, name: str, is_string: bool | None) -> str:
        """A parameter starts; is_string is None when the model did not say."""
        piece = self._write_wrapped()
        self._held = []
        if name in self._names:
            self.problems.append(f"parameter {name!r} was given twice, the first is kept")
            self._mode = "discard"
            return piece
        is_first = not self._names
        self._names.add(name)
        self._name, self._is_string = name, is_string
        if is_first and name in _WRAPPERS and self._properties is not None and name not in self._properties:
            self._mode = "wrapper"
            return piece
        self._mode = "stream" if is_string else "hold"
        return piece + self._key(name) + ('"' if is_string else "")

    def feed(self, text: str) -> str:
        """Raw text of the present parameter's value."""
        if self._mode == "stream":
            return _quote(text)[1:-1]
        if self._mode != "discard":
            self._held.append(text)
        return ""

    def end_value(self) -> str:
        """The present parameter is complete."""
        mode, self._mode = self._mode, "discard"
        if mode == "stream":
            return '"'
        if mode == "hold":
            return self._value("".join(self._held), self._is_string)
        if mode == "wrapper":
            self._wrapped = "".join(self._held)
        return ""

    def finish(self) -> str:
        """The call is complete."""
        wrapped = self._wrapped
        if wrapped is not None and self._is_whole_object(wrapped):
            self.problems.append(f"the arguments stood inside one parameter {self._name!r} and were unwrapped")
            return wrapped.strip()
        piece = self._write_wrapped()
        return piece + ("{}" if self._is_empty else "}")

    def _write_wrapped(self) -> str:
        """A parameter that only looked like a wrapper becomes an ordinary one."""
        wrapped, self._wrapped = self._wrapped, None
        if wrapped is None:
            return ""
        value = _quote(wrapped) if self._is_string else self._value(wrapped, self._is_string)
        return self._key(self._name) + value

    def _is_whole_object(self, text: str) -> bool:
        parsed = _parse(text)
        return isinstance(parsed, dict) and self._properties is not None and self._properties >= parsed.keys()

    def _key(self, name: str) -> str:
        opening = "{" if self._is_empty else ", "
        self._is_empty = False
        return f"{opening}{_quote(name)}: "

    def _value(self, text: str, is_string: bool | None) -> str:
        if _parse(text) is not _NOT_JSON:
            return text.strip()
        if is_string is False:
            self.problems.append(f"the value of parameter {self._name!r} is not JSON and became a string")
        return _quote(text)


_NOT_JSON = object()


def _parse(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is Python's, not JSON's")


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
