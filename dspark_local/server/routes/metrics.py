"""GET /metrics, for Prometheus."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dspark_local.server.metrics_jobs import JobMetrics


async def _metrics(request: Request) -> Response:
    jobs: JobMetrics = request.app.state.jobs
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(jobs.metrics.registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})


ROUTES = [Route("/metrics", _metrics, methods=["GET"])]
