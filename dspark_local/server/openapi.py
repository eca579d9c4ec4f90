"""The OpenAPI 3.1 document of an application: its routes, with the schemas that its requests are checked against."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.routing import Route

from dspark_local import __version__
from dspark_local.server.openapi_operations import OPERATIONS, Operation, Schema
from dspark_local.wire import WireErrorBody

_REFERENCE = "#/components/schemas/{model}"
_ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "request_id": {"type": "string"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "code": {"type": ["string", "null"]},
            },
        },
    },
}
# Read event by event, as tools do that check streams.
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
_REASONS = {
    200: "The answer",
    202: "It has begun",
    400: "The request is wrong; `param` names the field",
    401: "The key is missing or wrong",
    403: "The page that asks is not admitted",
    404: "There is no such model",
    408: "The body stopped coming",
    409: "Requests are running",
    413: "The body is too large",
    415: "The body is not application/json",
    429: "The queue is full; Retry-After says when to come again",
    500: "The server failed",
    503: "The model is loading, or cannot be loaded",
    529: "The model is loading",
}


def route_key(route: Route) -> set[tuple[str, str]]:
    """(method, path) as the document has them: HEAD goes with GET, and how a parameter is matched is left out."""
    path = route.path.replace(":path}", "}")
    return {(method.lower(), path) for method in route.methods or () if method != "HEAD"}


def document_of(app: Starlette) -> dict[str, Any]:
    """The document of the routes that this application has."""
    served = set[tuple[str, str]]().union(*(route_key(route) for route in app.routes if isinstance(route, Route)))
    operations = [operation for operation in OPERATIONS if (operation.method, operation.path) in served]
    models: set[type[Any]] = {WireErrorBody}
    for operation in operations:
        models |= {model for model in (operation.answer, operation.body) if isinstance(model, type)}
    references, definitions = TypeAdapter.json_schemas(
        [
            (model.__name__, "validation", TypeAdapter(model))
            for model in sorted(models, key=lambda model: model.__name__)
        ],
        ref_template=_REFERENCE,
    )
    schemas = {name: schema for (name, _), schema in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "dspark-local", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "AnthropicError": _ANTHROPIC_ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{"bearer": []}, {"header": []}],
    }


def _operation(operation: Operation, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    def schema(of: Schema) -> dict[str, Any]:
        return of if isinstance(of, dict) else schemas[of.__name__]

    answer: dict[str, Any] = {"description": _REASONS[200]}
    if operation.answer is not None:
        answer["content"] = {operation.content: {"schema": schema(operation.answer)}}
        if operation.streams:  # asked for with "stream": true
            answer["content"]["text/event-stream"] = {"schema": _EVENT}
    responses = {"200": answer}
    if operation.path.endswith("/load"):
        responses["202"] = {**answer, "description": _REASONS[202]}
    if operation.path == "/health":
        responses["503"] = {**answer, "description": _REASONS[503]}
    error = (
        schemas[WireErrorBody.__name__]
        if operation.errors == "openai"
        else {"$ref": _REFERENCE.format(model="AnthropicError")}
    )
    common = (
        400,
        403,
        *(() if operation.is_open else (401,)),
        *((408, 413, 415) if operation.method == "post" else ()),
    )
    for status in sorted({*common, *operation.statuses}):
        responses[str(status)] = {"description": _REASONS[status], "content": {"application/json": {"schema": error}}}
    described: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if "{model_id}" in operation.path:
        described["parameters"] = [
            {"name": "model_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    if operation.body is not None:
        content = {"schema": schema(operation.body), "example": operation.example}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    if operation.is_open:
        described["security"] = []
    return described
