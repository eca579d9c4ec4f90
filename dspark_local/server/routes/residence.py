"""POST /v1/models/{id}/load and /unload: the registered model in and out of memory. No name loads anything else."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.faults import error_body, json_response
from dspark_local.server.residence import ModelBusyError, Presence, Residence
from dspark_local.server.routes.models import registered_info

_CONFLICT = 409
_ACCEPTED = 202


async def _load(request: Request) -> Response:
    residence = _residence(request)
    await asyncio.to_thread(residence.load)
    presence = residence.presence
    return _answer(request, presence, _ACCEPTED if presence == "loading" else 200)


async def _unload(request: Request) -> Response:
    residence = _residence(request)
    try:
        await asyncio.to_thread(residence.unload)
    except ModelBusyError as error:
        body = error_body(error)
        body["error"]["type"] = "invalid_request_error"
        # Official clients repeat a 409 at once, which would not help.
        return json_response(body, _CONFLICT, {"x-should-retry": "false"})
    return _answer(request, "unloaded", 200)


def _residence(request: Request) -> Residence:
    registered_info(request)
    residence: Residence = request.app.state.residence
    return residence


def _answer(request: Request, presence: Presence, status: int) -> Response:
    return json_response({"id": request.path_params["model_id"], "status": {"value": presence}}, status)


ROUTES = [
    Route("/v1/models/{model_id:path}/load", _load, methods=["POST"]),
    Route("/v1/models/{model_id:path}/unload", _unload, methods=["POST"]),
]
