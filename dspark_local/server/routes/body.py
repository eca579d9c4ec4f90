"""Reading a request's JSON body into its schema."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from dspark_local.server.faults import RequestFaultError, fault_of_validation

# Far deeper than any schema of a tool, far shallower than what recursive code down the line bears.
MAX_DEPTH = 100

_Model = TypeVar("_Model", bound=BaseModel)


async def parse_body(request: Request, schema: type[_Model]) -> _Model:
    """The body, checked. Raises RequestFaultError that names the first field that is wrong."""
    try:
        raw = await request.body()
    except ClientDisconnect as error:  # nobody is left to read this, and a defect it is not
        raise RequestFaultError("The client went away before its request was complete.") from error
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestFaultError("The body is not valid JSON.") from error
    _demand_shallow(body)
    if b"\\ud" in raw.lower():
        _demand_text(body)
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        raise fault_of_validation(error) from error


def _demand_shallow(body: Any) -> None:
    level = [body]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _children(outer)]
        if not level:
            return
    raise RequestFaultError(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _children(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _demand_text(body: Any) -> None:
    """JSON can spell half of a surrogate pair, which is no character and cannot be sent back."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RequestFaultError("A text in the body holds half of a surrogate pair.") from error
