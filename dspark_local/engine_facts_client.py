"""Asking a server about its engine."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from dspark_local.engine_facts import WIRE, EngineFacts

_SECONDS = 5.0


async def fetch_engine_facts(http: httpx.AsyncClient) -> EngineFacts | None:
    """GET /v1/engine; None where the server has no such route or does not say just now. Raises httpx.HTTPError."""
    response = await http.get("/v1/engine", timeout=_SECONDS)
    try:
        return WIRE.validate_json(response.content) if response.status_code == 200 else None
    except ValidationError:
        return None
