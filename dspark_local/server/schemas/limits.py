"""How much one request may hold. Generous for agents, small enough that no field can exhaust the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_MESSAGES = 4096
MAX_CONTENT_PARTS = 1024
MAX_TOOLS = 512
MAX_CALLS = 128
MAX_STOP_STRINGS = 16
MAX_STOP_CHARACTERS = 1024
MAX_LOGIT_BIASES = 1024
MAX_JSON_DEPTH = 64
MAX_JSON_VALUES = 20_000
_INT64 = 2**63


def bounded_json(value: dict[str, Any]) -> dict[str, Any]:
    """The object itself. Raises ValueError when it nests deeper than MAX_JSON_DEPTH or holds too many values."""
    count = 0
    layer: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH):
        layer = [child for node in layer for child in _children(node)]
        count += len(layer)
        if count > MAX_JSON_VALUES:
            raise ValueError(f"holds more than {MAX_JSON_VALUES:,} values")
        if not layer:
            return value
    raise ValueError(f"nests deeper than {MAX_JSON_DEPTH} levels")


def _children(node: object) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


JsonObject = Annotated[dict[str, Any], AfterValidator(bounded_json)]
"""An object that is passed on as it is: a JSON schema, a tool."""

Name = Annotated[str, Field(max_length=256)]
"""An id, or the name of a model, a tool or a call."""

StopString = Annotated[str, Field(max_length=MAX_STOP_CHARACTERS)]
Seed = Annotated[int, Field(ge=-_INT64, lt=_INT64)]
