"""GET /v1/models: what is loaded."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.backend import ModelInfo
from dspark_local.server.faults import RequestFaultError, json_response
from dspark_local.wire import WireModelEntry, WireModelFacts, WireModelList


async def _models(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    return json_response(WireModelList(data=[_entry(info)]).model_dump())


async def _model(request: Request) -> Response:
    info = request.app.state.worker.ready_info()
    if request.path_params["model_id"] != info.id:
        raise RequestFaultError("There is no such model here.", code="model_not_found", param="model")
    return json_response(_entry(info).model_dump())


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
