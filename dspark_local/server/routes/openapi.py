"""GET /openapi.json: what this server speaks, for tools that read it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.faults import json_response
from dspark_local.server.openapi import document_of


async def _document(request: Request) -> Response:
    return json_response(document_of(request.app))


ROUTES = [Route("/openapi.json", _document, methods=["GET"])]
