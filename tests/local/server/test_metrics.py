"""GET /metrics, read with the parser of Prometheus' own client library, and llama.cpp's status routes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from dspark_local.demo import weights_path
from dspark_local.errors import EngineUnavailableError
from dspark_local.events import Finished, GenerationStats, RoundDone, SpeculationState, TextDelta
from dspark_local.native import NativeBackend
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.metrics_engine import EngineCollector
from dspark_local.server.metrics_jobs import JobMetrics
from dspark_local.server.metrics_native import read_native
from dspark_local.server.operations import install_operations
from dspark_local.server.worker import EngineWorker, Job
from tests.tui.fake_engine import FakeBackend

PATH = "/v1/chat/completions"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels as Prometheus writes them."""
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_job() -> Job:
    request = ChatRequest((ChatMessage("user", "hi"),))
    return Job(request, asyncio.new_event_loop())


def a_round(verified: int, accepted: int, **extra: Any) -> RoundDone:
    return RoundDone(7, 1, (1,) * 5, (0.5,) * 5, verified=verified, accepted=accepted, context_used=40, **extra)


def read(jobs: JobMetrics) -> dict[str, float]:
    from prometheus_client import generate_latest

    return samples(generate_latest(jobs.metrics.registry).decode())


def test_a_job_is_waiting_then_running_then_counted_by_how_it_ended() -> None:
    jobs, first, second = JobMetrics(), a_job(), a_job()
    jobs.observe(first, None)
    jobs.observe(second, None)
    jobs.observe(first, TextDelta("a"))
    figures = read(jobs)
    assert (figures["dspark_requests_waiting"], figures["dspark_requests_running"]) == (1, 1)
    jobs.observe(
        first, Finished("length", (1,), GenerationStats(prompt_tokens=30, cached_tokens=20, completion_tokens=4))
    )
    jobs.observe(second, EngineUnavailableError("gone"))
    figures = read(jobs)
    assert (figures["dspark_requests_waiting"], figures["dspark_requests_running"]) == (0, 0)
    assert figures["dspark_requests_total{outcome=length}"] == 1
    assert figures["dspark_requests_total{outcome=engine_unavailable}"] == 1
    assert figures["dspark_prompt_tokens_total"] == 30
    assert figures["dspark_cached_prompt_tokens_total"] == 20
    assert figures["dspark_generated_tokens_total"] == 4


def test_a_job_that_nobody_holds_any_more_is_forgotten() -> None:
    jobs, job = JobMetrics(), a_job()
    jobs.observe(job, None)
    del job
    assert read(jobs)["dspark_requests_waiting"] == 0


def test_times_to_the_first_token_count_the_queue_and_tokens_of_a_pass_share_its_time() -> None:
    clock = Clock()
    jobs, job = JobMetrics(clock), a_job()
    jobs.observe(job, None)
    clock.now += 3
    jobs.observe(job, TextDelta("a"))
    clock.now += 0.36
    jobs.observe(job, TextDelta("bcde"))
    jobs.observe(job, a_round(verified=4, accepted=3))
    figures = read(jobs)
    assert figures["dspark_time_to_first_token_seconds_count"] == 1
    assert figures["dspark_time_to_first_token_seconds_sum"] == pytest.approx(3)
    assert figures["dspark_inter_token_seconds_count"] == 4
    assert figures["dspark_inter_token_seconds_sum"] == pytest.approx(0.36)
    assert figures["dspark_inter_token_seconds_bucket{le=0.1}"] == 4
    assert figures["dspark_inter_token_seconds_bucket{le=0.05}"] == 0


def test_drafts_are_counted_by_source_and_by_place_in_the_block() -> None:
    jobs, job = JobMetrics(), a_job()
    jobs.observe(job, None)
    assert math.isnan(read(jobs)["dspark_speculation_gain_ratio"])
    jobs.observe(job, a_round(4, 3, speculation=SpeculationState("on", gain=0.25)))
    jobs.observe(job, a_round(2, 0, source="lookup", speculation=SpeculationState("paused", gain=-0.06)))
    jobs.observe(job, RoundDone(9, 1, (), (), verified=0, accepted=0, context_used=9, source="none"))
    figures = read(jobs)
    assert figures["dspark_decode_passes_total"] == 3
    for source, drafted, verified, accepted in (("draft", 5, 4, 3), ("lookup", 5, 2, 0)):
        assert figures[f"dspark_drafted_tokens_total{{source={source}}}"] == drafted
        assert figures[f"dspark_verified_tokens_total{{source={source}}}"] == verified
        assert figures[f"dspark_accepted_tokens_total{{source={source}}}"] == accepted
    at = [figures[f"dspark_verified_tokens_per_position_total{{position={place}}}"] for place in range(4)]
    assert at == [2, 2, 1, 1]
    at = [figures[f"dspark_accepted_tokens_per_position_total{{position={place}}}"] for place in range(3)]
    assert at == [1, 1, 1]
    assert figures["dspark_speculation_gain_ratio"] == -0.06
    assert figures["dspark_speculation_on"] == 0


@pytest.fixture
async def server(backend: FakeBackend) -> Any:
    worker = EngineWorker(lambda progress: backend, queue_size=1)
    app = create_app(worker, Access("secret"))
    residence = install_operations(app, lambda: EngineWorker(lambda progress: backend), slots=2)
    worker.start()
    while worker.state == "loading":
        await asyncio.sleep(0.001)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers={"Authorization": "Bearer secret"}
    ) as client:
        yield client
    assert residence.close(5.0)


def body(prompt: str = "hello") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}]}


async def test_the_metrics_of_a_server_tell_of_its_answers_in_both_formats(server: httpx.AsyncClient) -> None:
    stats = (await server.post(PATH, json=body())).json()["dspark"]["stats"]
    await server.post(PATH, json=body("too long"))
    await server.get("/no/such/route")
    response = await server.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    figures = samples(response.text)
    assert figures["dspark_requests_total{outcome=stop}"] == 1
    assert figures["dspark_requests_total{outcome=context_length_exceeded}"] == 1
    assert figures["dspark_decode_passes_total"] == stats["passes"]
    assert figures["dspark_http_responses_total{route=/v1/chat/completions}{status=200}"] == 1
    assert figures["dspark_http_responses_total{route=/v1/chat/completions}{status=400}"] == 1
    assert figures["dspark_http_responses_total{route=other}{status=404}"] == 1
    assert figures["dspark_process_open_fds"] > 0
    open_text = (await server.get("/metrics", headers=OPENMETRICS)).text
    assert {family.name for family in parse_openmetrics(open_text)} > {"dspark_requests", "dspark_prompt_tokens"}


async def test_no_metric_carries_a_word_of_a_request_and_all_are_explained(server: httpx.AsyncClient) -> None:
    await server.post(PATH, json=body("xyzzy"))
    await server.get("/v1/models/xyzzy")
    await server.get("/xyzzy")
    text = (await server.get("/metrics")).text
    assert "xyzzy" not in text
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("dspark_")
        assert family.documentation


async def test_metrics_slots_and_props_ask_for_the_key(server: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/slots", "/props"):
        assert (await server.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_slots_show_who_is_being_answered_without_a_word_of_it(
    server: httpx.AsyncClient, backend: FakeBackend
) -> None:
    backend.pass_seconds = 0.002
    running = asyncio.create_task(server.post(PATH, json=body("endless secret")))
    while not backend.requests or backend.passes < 3:
        await asyncio.sleep(0.005)
    response = await server.get("/slots")
    first, second = response.json()
    assert (first["is_processing"], second["is_processing"]) == (True, False)
    assert first["next_token"][0]["n_decoded"] > 0
    assert first["n_ctx"] == 2048
    assert "secret" not in response.text
    await running
    assert not any(slot["is_processing"] for slot in (await server.get("/slots")).json())


async def test_props_name_the_model_and_no_path(server: httpx.AsyncClient) -> None:
    props = (await server.get("/props")).json()
    assert props["model_alias"] == "dspark-demo"
    assert props["default_generation_settings"]["n_ctx"] == 2048
    assert props["total_slots"] == 2
    assert "path" not in str(props)


async def test_tokenize_gives_the_ids_of_plain_text(server: httpx.AsyncClient) -> None:
    response = await server.post("/tokenize", json={"content": "ab"})
    assert response.json() == {"tokens": [97, 98]}
    assert (await server.post("/tokenize", json={"content": "a" * 1_000_001})).status_code == 400


@pytest.fixture(scope="module")
def demo() -> Iterator[NativeBackend]:
    backend = NativeBackend.load(weights_path(), dtype="float32", context_length=512)
    yield backend
    backend.close()


def test_memory_and_expert_bytes_are_those_that_the_engine_accounts_for(demo: NativeBackend) -> None:
    collector: EngineCollector[NativeBackend] = EngineCollector(read_native)
    jobs = JobMetrics()
    jobs.metrics.registry.register(collector)
    assert read(jobs)["dspark_model_loaded"] == 0
    collector.attach(demo)
    before = read(jobs)
    assert before["dspark_memory_bytes{part=weights}"] >= demo.info.weight_bytes
    held = sum(value for name, value in before.items() if name.startswith("dspark_memory_bytes"))
    assert demo.drafter is not None
    assert held == sum(demo.target.bytes_held().values()) + sum(demo.drafter.bytes_held().values())
    request = ChatRequest((ChatMessage("user", "hi"),), SamplingSettings(temperature=0, max_tokens=3))
    for _ in demo.chat(request, lambda: False):
        pass
    after = read(jobs)
    assert after["dspark_expert_fetches_total"] > before["dspark_expert_fetches_total"]
    assert after["dspark_expert_fetched_bytes_total"] > before["dspark_expert_fetched_bytes_total"]
    assert after["dspark_expert_copied_bytes_total"] == 0


def test_being_measured_does_not_keep_a_model_in_memory() -> None:
    collector: EngineCollector[FakeBackend] = EngineCollector(lambda backend: pytest.fail("nothing to read"))
    backend = FakeBackend()
    collector.attach(backend)
    del backend
    [loaded] = collector.collect()
    assert loaded.samples[0].value == 0
