"""The OpenAPI document is true: it names every route, and thousands of requests drawn from it meet no failure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Route

from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.openapi import document_of, route_key
from dspark_local.server.openapi_operations import OPERATIONS
from dspark_local.server.operations import install_operations
from dspark_local.server.worker import EngineWorker
from tests.local.scripted import scripted_backend

EXAMPLES, MANY_EXAMPLES = 8, 100
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = [(operation.method.upper(), operation.path) for operation in OPERATIONS]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    """The whole application with the real engine, its model a table that recites."""

    def new_worker() -> EngineWorker:
        folder = tmp_path_factory.mktemp("model")
        return EngineWorker(
            lambda progress: scripted_backend(folder, "Twelve times seven is 84. ", endless=True, context_length=400)
        )

    worker = new_worker()
    made = create_app(worker, Access(None, ("127.0.0.1", "testserver")))
    residence = install_operations(made, new_worker)
    worker.start()
    while worker.state == "loading":
        pass
    yield made
    assert residence.close(10.0)


@pytest.fixture(scope="module")
def schema(app: Starlette) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_every_route_of_the_application_is_described_and_every_description_has_its_route(app: Starlette) -> None:
    served = set().union(*(route_key(route) for route in app.routes if isinstance(route, Route)))
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}
    document = document_of(app)
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == served


def test_references_in_the_document_lead_somewhere_and_its_examples_fit_its_schemas(app: Starlette) -> None:
    document = document_of(app)
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                Draft202012Validator({**content["schema"], "components": document["components"]}).validate(
                    content["example"]
                )


async def test_the_document_needs_the_key_where_there_is_one(app: Starlette) -> None:
    locked = create_app(app.state.worker, Access("secret"))
    transport = httpx.ASGITransport(locked)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/openapi.json")).status_code == 401
        response = await client.get("/openapi.json", headers={"Authorization": "Bearer secret"})
    assert response.json()["openapi"] == "3.1.0"
    assert "/metrics" not in response.json()["paths"]  # nor in this application


def reach_the_engine(case: Any) -> None:
    """Name the model that there is, and end soon: most of what is drawn would otherwise stop at the same line."""
    if case.path_parameters and len(case.path_parameters.get("model_id", "")) % 2:
        case.path_parameters["model_id"] = "scripted"
    body = case.body
    if isinstance(body, dict) and len(str(body)) % 4:
        if "/messages" in case.path:
            body["model"] = "claude-x"
        else:
            body.pop("model", None)
        for limit in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if (body.get(limit) is None and limit in body) or limit == "max_tokens":
                body[limit] = 6


def fuzz(schema: Any, method: str, path: str, mode: GenerationMode, examples: int) -> None:
    operation = schema[path][method]
    statuses: dict[int, int] = {}

    @seed(int(os.environ.get("DSPARK_FUZZ_SEED", "5")))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        reach_the_engine(case)
        response = case.call(base_url="http://127.0.0.1")
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        case.validate_response(response, checks=CHECKS)

    run()
    print(method, path, mode.value, dict(sorted(statuses.items())))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_requests_drawn_from_the_document_are_answered_as_it_says(schema: Any, method: str, path: str) -> None:
    fuzz(schema, method, path, GenerationMode.POSITIVE, EXAMPLES)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "POST"])
def test_requests_that_break_the_document_are_refused_as_it_says(schema: Any, method: str, path: str) -> None:
    fuzz(schema, method, path, GenerationMode.NEGATIVE, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_hundred_requests_a_route_meet_no_failure(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    """DSPARK_FUZZ_SEED draws others."""
    if mode == GenerationMode.NEGATIVE and method == "GET":
        mode = GenerationMode.POSITIVE
    fuzz(schema, method, path, mode, MANY_EXAMPLES)
