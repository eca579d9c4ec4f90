"""GET /v1/engine: against the operating system's own figures, the plan, and the engine's ledgers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import httpx
import psutil
import pytest

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.client import EngineClient
from dspark_local.demo import weights_path
from dspark_local.engine_facts import EngineFacts, MemoryPart
from dspark_local.events import Finished, TextDelta
from dspark_local.native import NativeBackend
from dspark_local.plan.engine_plan import EnginePlan
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.metrics_engine import EngineCollector
from dspark_local.server.metrics_native import memory_parts, read_native
from dspark_local.server.operations import install_operations
from dspark_local.server.worker import EngineWorker

ASKED = ChatRequest(
    (ChatMessage("user", "Tell me a story."),),
    SamplingSettings(temperature=0, max_tokens=60),
    SpeculationSettings.parse("static:3"),
    thinking="thinking",
)


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.ASGITransport]:
    """The demo behind the whole application, with a key."""
    collector: EngineCollector[NativeBackend] = EngineCollector(read_native)

    def load(progress: object) -> NativeBackend:
        backend = NativeBackend.load(weights_path(), dtype="float32", context_length=512)
        collector.attach(backend)
        return backend

    worker = EngineWorker(load)
    app = create_app(worker, Access("secret"))
    residence = install_operations(app, lambda: EngineWorker(load), collector=collector, slots=2)
    worker.start()
    yield httpx.ASGITransport(app)
    assert residence.close(10)


@pytest.fixture
async def client(server: httpx.ASGITransport) -> AsyncIterator[EngineClient]:
    async with EngineClient("http://127.0.0.1", "secret", transport=server) as client:
        await client.wait_until_ready(poll_seconds=0.01)
        yield client


async def facts_of(client: EngineClient) -> EngineFacts:
    facts = await client.engine_facts()
    assert facts is not None
    return facts


async def test_memory_is_what_the_operating_system_says(client: EngineClient) -> None:
    facts = await facts_of(client)
    process = psutil.Process(os.getpid()).memory_info().rss
    assert facts.ram.process_bytes == pytest.approx(process, rel=0.2)
    assert 0 < facts.ram.available_bytes < facts.ram.total_bytes <= psutil.virtual_memory().total
    assert (facts.model, facts.device, facts.vram) == ("dspark-demo", "cpu", None)


async def test_caches_and_weights_are_held_as_they_were_planned(client: EngineClient) -> None:
    facts = await facts_of(client)
    caches = [part for part in facts.parts if part.name not in ("weights", "workspace", "expanded")]
    assert {part.name for part in caches} >= {"window", "compressed", "draft_context"}
    for part in caches:
        assert part.held_bytes == pytest.approx(part.planned_bytes, rel=0.02), part.name
    [weights] = [part for part in facts.parts if part.tier == "disk"]
    assert weights.held_bytes is not None
    on_disk = sum(path.stat().st_size for path in weights_path().glob("*.safetensors"))
    assert 0 < weights.held_bytes <= on_disk
    assert weights.planned_bytes == pytest.approx(on_disk, rel=0.02)


async def test_an_answer_shows_as_running_and_moves_experts(client: EngineClient) -> None:
    before = await facts_of(client)

    async def answer() -> list[ClientEvent]:
        return [event async for event in client.chat(ASKED)]

    asked, running = asyncio.create_task(answer()), 0
    while not asked.done():
        running = max(running, (await facts_of(client)).running)
        await asyncio.sleep(0.05)
    after = await facts_of(client)
    assert isinstance((await asked)[-1], Finished)
    assert running == 1
    assert (after.running, after.waiting, after.slots) == (0, 0, 2)
    assert after.experts.fetches > before.experts.fetches
    assert after.experts.read_bytes > before.experts.read_bytes
    assert after.experts.copied_bytes == 0
    assert after.uptime_seconds > before.uptime_seconds


async def test_the_facts_are_for_those_with_the_key(server: httpx.ASGITransport, client: EngineClient) -> None:
    async with httpx.AsyncClient(transport=server, base_url="http://127.0.0.1") as stranger:
        assert (await stranger.get("/v1/engine")).status_code == 401


async def test_texts_of_the_tokens_joined_are_the_answer_and_come_only_when_asked_for(
    server: httpx.ASGITransport, client: EngineClient
) -> None:
    streamed, told, first, tokens = "", "", None, 0
    async for event in client.chat(ASKED):
        match event:
            case TextDelta(text):
                streamed += text
            case RoundSummary():
                first = streamed if first is None else first
                told += "".join(event.texts)
                tokens += len(event.texts)
                assert event.accepted <= len(event.texts) <= event.accepted + 1
            case Finished(_, _, stats):
                assert tokens == stats.completion_tokens - 1
    assert told
    assert streamed.endswith(told)
    assert first is not None
    assert first.startswith(streamed.removesuffix(told))
    asked = {"dspark": {"speculation": "static:3"}, "messages": [{"role": "user", "content": "hi"}]}
    body = asked | {"stream": True, "max_tokens": 4}
    async with httpx.AsyncClient(transport=server, base_url="http://127.0.0.1") as plain:
        answer = await plain.post("/v1/chat/completions", json=body, headers={"Authorization": "Bearer secret"})
    assert '"round"' in answer.text
    assert '"texts"' not in answer.text


def test_characters_of_several_tokens_belong_to_the_one_that_completes_them() -> None:
    from dspark_local.engine.token_texts import TokenTexts
    from dspark_local.events import RoundDone

    backend = NativeBackend.load(weights_path(), dtype="float32", context_length=512)
    ids = backend.tokenizer.encode_text("Grüße 世界 🙂!")
    texts = TokenTexts(backend.tokenizer)
    told: list[str] = []
    end = next(iter(backend.tokenizer.eos_ids))
    for token in (*ids[1:], end):
        event = texts.told(RoundDone(1, ids[0], (), (), 0, 0, 1, token_ids=(token,)))
        assert isinstance(event, RoundDone)
        told += event.texts
    backend.close()
    assert backend.tokenizer.decode(ids[:1]) + "".join(told) == "Grüße 世界 🙂!"
    assert len(ids) > len("Grüße 世界 🙂!")
    assert "" in told
    assert told[-1] == ""
    assert "�" not in "".join(told)


def test_on_a_card_dense_weights_lie_in_vram_and_experts_stay_on_disk_until_they_fit() -> None:
    held = {"weights": 900, "draft_weights": 50, "window": 10}
    plan = EnginePlan("cuda:0", {"window": 10, "weights": 100, "draft_weights": 20, "workspace": 5}, 950, 0, 2000)
    parts = list(memory_parts(plan, held, copied_bytes=70))
    assert MemoryPart("window", "vram", 10, 10) in parts
    assert MemoryPart("weights", "vram", 100, None) in parts
    assert parts[-1] == MemoryPart("experts", "disk", 830, None)
    resident = EnginePlan("cuda:0", plan.held, 950, 800, 2000)
    assert list(memory_parts(resident, held, copied_bytes=70))[-2:] == [
        MemoryPart("experts", "vram", 800, 70),
        MemoryPart("experts", "disk", 30, None),
    ]


async def test_a_server_that_is_not_ours_is_not_asked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/models"
        return httpx.Response(200, json={"object": "list", "data": [{"id": "other", "object": "model"}]})

    async with EngineClient("http://127.0.0.1", transport=httpx.MockTransport(answer)) as foreign:
        await foreign.models()
        assert await asyncio.wait_for(foreign.engine_facts(), 5) is None
