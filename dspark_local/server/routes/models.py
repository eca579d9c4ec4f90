"""GET /v1/models: what this server offers, and whether it is in memory."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.backend import ModelInfo
from dspark_local.server.faults import RequestFaultError, json_response
from dspark_local.server.residence import info_of, presence_of
from dspark_local.wire import WireModelEntry, WireModelFacts, WireModelList


def known_info(request: Request) -> ModelInfo:
    """Facts of the model, also of one that was unloaded. Raises ModelLoadingError or the error of loading."""
    return info_of(request.app.state)


def registered_info(request: Request) -> ModelInfo:
    """Facts of the model that the path names. A name is compared, never opened. Raises RequestFaultError (404)."""
    info = known_info(request)
    if request.path_params["model_id"] != info.id:
        raise RequestFaultError("There is no such model here.", code="model_not_found", param="model")
    return info


async def _models(request: Request) -> Response:
    body = WireModelList(data=[_entry(known_info(request))]).model_dump()
    body["data"][0] |= _status(request)
    return json_response(body)


async def _model(request: Request) -> Response:
    return json_response(_entry(registered_info(request)).model_dump() | _status(request))


def _status(request: Request) -> dict[str, Any]:
    return {"status": {"value": presence_of(request.app.state)}}


def _entry(info: ModelInfo) -> WireModelEntry:
    facts = WireModelFacts(
        context_length=info.context_length,
        is_demo=info.is_demo,
        draft_block_size=info.draft_block_size,
        device=info.device,
        dtype=info.dtype,
        numerics=info.numerics,
        weight_bytes=info.weight_bytes,
        recommended_temperature=info.recommended_temperature,
        recommended_top_p=info.recommended_top_p,
    )
    return WireModelEntry(id=info.id, dspark=facts)


ROUTES = [
    Route("/v1/models", _models, methods=["GET"]),
    Route("/v1/models/{model_id:path}", _model, methods=["GET"]),
]
