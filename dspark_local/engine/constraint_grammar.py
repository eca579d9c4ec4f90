"""What a request demands of the form of its answer, as a grammar in the Lark dialect of llguidance.

A JSON answer is one JSON text. A forced tool call is the block of DSML markup that the model writes by itself: markup
tokens are named by id, tag names and the names of tools and parameters are literals, values follow their schemas. Names
and schemas of a request only ever enter as quoted JSON, so they cannot write grammar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dspark_local.request import OutputFormat

_BLANKS = r" |\n {0,32}"
"""Between two parts of a JSON text stands nothing, a blank, or a line break with up to eight levels of indentation.
Any run of white space would be JSON too, but an unsure model never gets out of one."""

_TEXT_UP_TO_TAG = r"/(.|\n)*<\//"
"""Raw text and the beginning of the closing tag. The longest match counts, and only a markup token can follow it."""

_PLAIN_STRING = {"type", "description", "title", "default", "examples", "$comment"}
"""Keywords that leave a string free."""


def json_rule(output_format: OutputFormat) -> str:
    """The JSON text that the format asks for."""
    return _json(output_format.schema if output_format.schema is not None else {"type": "object"})


def tools_rule(tools: Sequence[Mapping[str, Any]], dsml_id: int, *, single: bool) -> str:
    """A block that calls one of the tools, or several times any of them unless `single`.

    tools are OpenAI tool objects. Arguments come in the order of their schema, optional ones may be left out.
    """
    tag = f"<[{dsml_id}]>"
    call = " | ".join(f"({_call(tool.get('function', {}), tag)})" for tool in tools)
    return (
        f'"\\n\\n<" {tag} "tool_calls>\\n" ("<" {tag} ({call}) "\\n"){"" if single else "+"} "</" {tag} "tool_calls>"'
    )


def grammar(rules: Iterable[str]) -> str:
    """A grammar whose texts are those of any of the rules."""
    return "start: " + " | ".join(f"({rule})" for rule in rules) + "\n"


def _call(function: Mapping[str, Any], tag: str) -> str:
    head = _quoted(f'invoke name="{function.get("name", "")}">')
    schema = function.get("parameters") or {}
    properties, required = schema.get("properties"), schema.get("required") or ()
    if not isinstance(properties, Mapping) and not {"anyOf", "oneOf", "allOf", "$ref"}.isdisjoint(schema):
        body, may_be_empty = f"({_any_parameter(tag)})*", True
    else:
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        parts = []
        for name, value in (properties or {}).items():
            parameter = _parameter(name, value, definitions, tag)
            parts.append(parameter if name in required else f"({parameter})?")
        body, may_be_empty = " ".join(parts), not any(name in required for name in properties or ())
    empty_line = '"\\n"? ' if may_be_empty else ""  # two newlines where a call has no parameter
    return f'{head} {body} {empty_line}"\\n</" {tag} "invoke>"'


def _parameter(name: str, schema: object, definitions: Mapping[str, Any], tag: str) -> str:
    return f"{_opening(name, tag)} {_value(schema, definitions, tag)}"


def _opening(name: str, tag: str) -> str:
    return f'"\\n<" {tag} {_quoted(f"parameter name={chr(34)}{name}{chr(34)} string={chr(34)}")}'


def _any_parameter(tag: str) -> str:
    return f'"\\n<" {tag} "parameter name=\\"" /[^"<>\\n]+/ "\\" string=\\"" {_value({}, {}, tag)}'


def _value(schema: object, definitions: Mapping[str, Any], tag: str) -> str:
    """From the flag that says how the value is written to the end of the parameter."""
    close = f'{tag} "parameter>"'
    text = f'"true\\">" {_TEXT_UP_TO_TAG} {close}'
    if isinstance(schema, Mapping) and schema.get("type") == "string" and _PLAIN_STRING.issuperset(schema):
        return text
    written = {**schema, **definitions} if isinstance(schema, Mapping) else {}
    as_json = f'"false\\">" {_json(written)} "</" {close}'
    return as_json if written else f"({text} | {as_json})"


def _json(schema: Mapping[str, Any]) -> str:
    options = {"whitespace_flexible": True, "whitespace_pattern": _BLANKS}
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
