"""GET /props and /slots, POST /tokenize, under the names that tools made for llama.cpp's server look for.

No path and no text of a request is shown, unlike there.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local import __version__
from dspark_local.server.faults import json_response
from dspark_local.server.metrics_jobs import JobMetrics, JobProgress
from dspark_local.server.routes.body import parse_body
from dspark_local.server.routes.models import known_info
from dspark_local.server.worker import EngineWorker
from dspark_local.wire import WireModel

_MAX_CHARACTERS = 1_000_000  # a longer text would hold up running answers, which wait while it is cut into tokens


class WireTokenize(WireModel):
    """Body of POST /tokenize. Special tokens are never added: what a text costs is what is asked."""

    content: Annotated[str, Field(max_length=_MAX_CHARACTERS)]


async def _props(request: Request) -> Response:
    info = known_info(request)
    return json_response(
        {
            "model_alias": info.id,
            "total_slots": request.app.state.slots,
            "default_generation_settings": {
                "n_ctx": info.context_length,
                "params": {"temperature": info.recommended_temperature, "top_p": info.recommended_top_p},
            },
            "modalities": {"vision": False, "audio": False},
            "is_sleeping": request.app.state.residence.presence == "unloaded",
            "build_info": f"dspark-local {__version__}",
        }
    )


async def _slots(request: Request) -> Response:
    info = known_info(request)
    jobs: JobMetrics = request.app.state.jobs
    running = [job for job in jobs.live() if job.started]
    idle: list[JobProgress | None] = [None] * max(0, request.app.state.slots - len(running))
    speculative = info.draft_block_size > 0
    return json_response([_slot(n, job, info.context_length, speculative) for n, job in enumerate([*running, *idle])])


def _slot(number: int, job: JobProgress | None, context_length: int, speculative: bool) -> dict[str, Any]:
    slot: dict[str, Any] = {
        "id": number,
        "n_ctx": context_length,
        "speculative": speculative,
        "is_processing": job is not None,
    }
    if job is not None:
        slot |= {"id_task": job.number, "n_past": job.context_used, "next_token": [{"n_decoded": job.decoded_tokens}]}
    return slot


async def _tokenize(request: Request) -> Response:
    worker: EngineWorker = request.app.state.worker
    text = (await parse_body(request, WireTokenize)).content
    return json_response({"tokens": await worker.ask(lambda backend: backend.tokenize(text))})


ROUTES = [
    Route("/props", _props, methods=["GET"]),
    Route("/slots", _slots, methods=["GET"]),
    Route("/tokenize", _tokenize, methods=["POST"]),
]
