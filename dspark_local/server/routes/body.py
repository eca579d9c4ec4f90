"""Reading a request's JSON body into its schema."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from dspark_local.server.faults import RequestFaultError, fault_of_validation

_Model = TypeVar("_Model", bound=BaseModel)


async def parse_body(request: Request, schema: type[_Model]) -> _Model:
    """The body, checked. Raises RequestFaultError that names the first field that is wrong."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise RequestFaultError("The body is not valid JSON.") from error
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        raise fault_of_validation(error) from error
