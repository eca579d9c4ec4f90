"""How much one request may hold. Generous for agents, small enough that no field can exhaust the server."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_MESSAGES = 16_384
MAX_CONTENT_PARTS = 1024
MAX_TOOLS = 512
MAX_CALLS = 128
MAX_STOP_STRINGS = 16
MAX_STOP_CHARACTERS = 1024
MAX_LOGIT_BIASES = 1024
MAX_JSON_VALUES = 20_000
_INT64 = 2**63


def bounded_json(value: dict[str, Any]) -> dict[str, Any]:
    """The object itself. Raises ValueError when it holds more than MAX_JSON_VALUES, or a number that JSON lacks."""
    count = 0
    layer: list[Any] = [value]
    while layer:
        layer = [child for node in layer for child in _children(node)]
        count += len(layer)
        if count > MAX_JSON_VALUES:
            raise ValueError(f"holds more than {MAX_JSON_VALUES:,} values")
    return value


def _children(node: object) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    if isinstance(node, float) and not math.isfinite(node):  # Python reads it, and could not write it back
        raise ValueError(f"holds {node}, which JSON does not have")
    return node if isinstance(node, list) else ()


JsonObject = Annotated[dict[str, Any], AfterValidator(bounded_json)]
"""An object that is passed on as it is: a JSON schema, a tool."""

Name = Annotated[str, Field(max_length=256)]
"""An id, or the name of a model, a tool or a call."""

StopString = Annotated[str, Field(max_length=MAX_STOP_CHARACTERS)]
Seed = Annotated[int, Field(ge=-_INT64, lt=_INT64)]
