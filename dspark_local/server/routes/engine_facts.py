"""GET /v1/engine: what the engine holds, against what was planned, and what it is doing."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.engine_facts import WIRE, EngineFacts, SystemMemory
from dspark_local.hardware.memory import read_memory
from dspark_local.server.faults import json_response
from dspark_local.server.metrics_engine import EngineCollector, EngineReading
from dspark_local.server.metrics_jobs import JobMetrics
from dspark_local.server.routes.models import known_info


async def _engine(request: Request) -> Response:
    info = known_info(request)
    jobs: JobMetrics = request.app.state.jobs
    collector: EngineCollector[Any] | None = request.app.state.engine
    # Not in the event loop: asking a card or a container for its memory may take a moment.
    memory, reading = await asyncio.to_thread(_read, collector)
    live = jobs.live()
    running = sum(job.started for job in live)
    facts = EngineFacts(
        model=info.id,
        device=info.device,
        ram=memory,
        uptime_seconds=jobs.uptime_seconds,
        slots=request.app.state.slots,
        running=running,
        waiting=len(live) - running,
        parts=reading.parts,
        vram=reading.vram,
        experts=reading.experts,
    )
    return json_response(WIRE.dump_python(facts, mode="json"), 200, {"Cache-Control": "no-store"})


def _read(collector: EngineCollector[Any] | None) -> tuple[SystemMemory, EngineReading]:
    import psutil

    memory = read_memory()
    process = psutil.Process().memory_info().rss
    reading = collector.reading() if collector is not None else None
    return SystemMemory(memory.total_bytes, memory.available_bytes, process), reading or EngineReading({})


ROUTES = [Route("/v1/engine", _engine, methods=["GET"])]
