"""Many clients on a few slots: nothing lost, nothing mixed up, nobody starved, nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch

from dspark_local.backend import Backend
from dspark_local.demo import weights_path
from dspark_local.errors import ContextLengthError, DsparkError, EngineUnavailableError
from dspark_local.events import Event, Finished, TextDelta
from dspark_local.native import NativeBackend
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings, TokenRequest
from dspark_local.server.worker import EngineWorker, Job, QueueFullError
from dspark_models.deepseek_v4.target import DeepseekV4Target
from tests.fakes import FakeTarget
from tests.local.scripted import scripted_backend

ANSWER = "Twelve times seven is 84. "
SLOTS = 4
KINDS = ("off", "static:3", "threshold:0.5", "auto")


def asked(text: str, tokens: int = 40, spec: str = "static:3") -> ChatRequest:
    sampling = SamplingSettings(temperature=0.0, max_tokens=tokens)
    return ChatRequest((ChatMessage("user", text),), sampling, SpeculationSettings.parse(spec))


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def read(job: Job) -> list[Event]:
    return [event async for event in job.events()]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


Start = Callable[..., tuple[EngineWorker, NativeBackend]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[EngineWorker] = []

    def begin(*, queue_size: int = 8, **options: float) -> tuple[EngineWorker, NativeBackend]:
        backend = scripted_backend(tmp_path, ANSWER, endless=True, slots=SLOTS, context_length=400, **options)  # type: ignore[arg-type]
        worker = EngineWorker(lambda progress: backend, queue_size=queue_size)
        worker.start()
        while worker.state == "loading":
            pass
        workers.append(worker)
        return worker, backend

    yield begin
    for worker in workers:
        assert worker.stop()


def sequences_of(backend: NativeBackend) -> dict[int, object]:
    assert isinstance(backend.target, FakeTarget)
    return backend.target._caches  # type: ignore[return-value]


async def test_clients_that_come_go_and_err_get_each_their_own_answer(start: Start) -> None:
    rng = random.Random(5)
    worker, backend = start(queue_size=64)
    reference = ANSWER * 20
    outcomes: list[str] = []

    async def client(number: int) -> None:
        for turn in range(6):
            await asyncio.sleep(rng.random() * 0.01)
            tokens = rng.randrange(1, 90)
            kind = rng.choice(("whole", "whole", "leaves", "too long"))
            text = "x" * 500 if kind == "too long" else f"{number} of {turn}?"
            job = worker.submit(asked(text, tokens, rng.choice(KINDS)))
            if kind == "too long":
                with pytest.raises(ContextLengthError):
                    await read(job)
            elif kind == "leaves":
                said = ""
                async for event in job.events():
                    said += event.text if isinstance(event, TextDelta) else ""
                    if len(said) > tokens // 2:
                        job.cancel()
                assert reference.startswith(said)
            else:
                events = await read(job)
                assert isinstance(events[-1], Finished)
                assert len(events[-1].token_ids) == tokens
                assert text_of(events) == reference[:tokens]
            outcomes.append(kind)

    async with asyncio.timeout(60):
        await asyncio.gather(*(client(number) for number in range(8)))
    assert len(outcomes) == 48
    assert set(outcomes) == {"whole", "leaves", "too long"}
    assert (worker.running, worker.waiting, backend._pool.busy) == (0, 0, 0)


async def test_two_hundred_clients_that_leave_at_any_moment_keep_no_sequence(start: Start) -> None:
    rng = random.Random(9)
    worker, backend = start(queue_size=300)
    sequences = sequences_of(backend)
    held = backend.target.bytes_held()
    jobs = [worker.submit(asked(f"{number}?", 300, rng.choice(KINDS))) for number in range(200)]

    async def leave(job: Job) -> None:
        await asyncio.sleep(rng.random() * 0.5)
        job.cancel()

    await asyncio.gather(*(leave(job) for job in jobs))
    ends = [(await read(job))[-1] for job in jobs]
    assert all(isinstance(end, Finished) for end in ends)
    await until(lambda: worker.running == 0)
    assert backend._pool.busy == 0
    assert len(sequences) <= SLOTS
    assert backend.target.bytes_held() == held
    again = await asyncio.gather(*(read(worker.submit(asked(f"{n}?", 30))) for n in range(8)))
    assert [text_of(events) for events in again] == [(ANSWER * 2)[:30]] * 8
    assert worker.stop()
    assert sequences == {}


async def test_as_many_as_there_are_slots_run_and_the_others_wait_their_turn(start: Start) -> None:
    worker, _ = start(queue_size=3, seconds_per_pass=0.002)
    order: list[int] = []
    jobs = [worker.submit(asked("0?", 300)) for _ in range(3)]
    await until(lambda: worker.running == 3)
    jobs.append(worker.submit(asked("3?", 300)))
    await until(lambda: worker.running == SLOTS)

    async def note(number: int, job: Job) -> None:
        await job.arrivals.get()
        order.append(number)

    later = [worker.submit(asked(f"{number}?", 5)) for number in range(3)]
    with pytest.raises(QueueFullError, match="3 requests"):
        worker.submit(asked("one too many?"))
    assert worker.waiting == 3
    notes = [asyncio.create_task(note(number, job)) for number, job in enumerate(later)]
    await asyncio.sleep(0.05)
    assert order == []
    jobs[2].cancel()
    await asyncio.gather(*notes)
    assert order == [0, 1, 2]
    for job in jobs:
        job.cancel()


async def test_running_streams_advance_evenly(start: Start) -> None:
    worker, _ = start()
    told: list[Job] = []

    def note(job: Job, item: Event | DsparkError | None) -> None:
        if isinstance(item, TextDelta):
            told.append(job)

    worker.observers.append(note)
    jobs = [worker.submit(asked(f"{number}?", 300, "off")) for number in range(SLOTS)]
    await asyncio.gather(*(read(job) for job in jobs))
    times = [[time for time, of in enumerate(told) if of is job] for job in jobs]
    begun, ended = max(own[1] for own in times), min(own[-1] for own in times)
    assert ended - begun > 800
    for own in times:
        gaps = [later - earlier for earlier, later in itertools.pairwise(own) if begun <= earlier <= later <= ended]
        assert max(gaps) == SLOTS  # between two tokens of one stream, at most one of each other


async def test_tokens_are_counted_and_ids_continued_while_others_run(start: Start) -> None:
    worker, backend = start(seconds_per_pass=0.002)
    running = worker.submit(asked("0?", 300))
    await until(lambda: worker.running == 1)
    counted = await worker.token_count(asked("How long is this?"))
    ids = tuple(backend.tokenizer.encode_text("Say it?"))
    events = await read(worker.submit(TokenRequest(ids, SamplingSettings(temperature=0.0, max_tokens=10))))
    assert text_of(events) == ANSWER[:10]
    with pytest.raises(DsparkError):
        await worker.token_count(ChatRequest((ChatMessage("tool", "nobody asked"),), tools=({},)))
    assert worker.running == 1
    running.cancel()
    await read(running)
    assert counted == backend.count_prompt_tokens(asked("How long is this?"))


async def test_stopping_tells_those_who_run_those_who_wait_and_those_who_come(start: Start) -> None:
    worker, backend = start(seconds_per_pass=0.01)
    sequences = sequences_of(backend)
    jobs = [worker.submit(asked("x?", 300)) for _ in range(SLOTS + 2)]
    await until(lambda: worker.running == SLOTS)
    counting = asyncio.create_task(worker.token_count(asked("y?")))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(worker.stop)
    for job in jobs[:SLOTS]:
        end = (await read(job))[-1]
        assert isinstance(end, Finished)
        assert end.reason == "cancelled"
    for job in jobs[SLOTS:]:
        with pytest.raises(EngineUnavailableError):
            await read(job)
    assert await asyncio.gather(counting, return_exceptions=True)
    with pytest.raises(EngineUnavailableError):
        worker.submit(asked("z?"))
    assert sequences == {}


def test_clients_that_hang_up_on_the_socket_free_their_slots(
    tmp_path: Path, serve_on_socket: Callable[..., object]
) -> None:
    backend = scripted_backend(tmp_path, ANSWER, endless=True, slots=2, context_length=400, seconds_per_pass=0.001)
    server = serve_on_socket(lambda progress: backend, queue_size=4)
    worker: EngineWorker = server.worker  # type: ignore[attr-defined]
    url, key = server.url + "/v1/chat/completions", {"Authorization": "Bearer secret"}  # type: ignore[attr-defined]
    while worker.state == "loading":
        pass
    for number in range(30):
        body = {"messages": [{"role": "user", "content": f"{number}?"}], "stream": True, "max_tokens": 300}
        with httpx.stream("POST", url, json=body, headers=key, timeout=10) as response:
            assert response.status_code == 200
            next(response.iter_bytes())
    asyncio.run(until(lambda: worker.running + worker.waiting == 0))
    assert backend._pool.busy == 0


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[EngineWorker, NativeBackend]]:
    torch.set_num_threads(1)
    backend = NativeBackend.load(weights_path(), dtype="float32", device="cpu", max_sequences=SLOTS)
    worker = EngineWorker(lambda progress: backend, queue_size=16)
    worker.start()
    while worker.state == "loading":
        pass
    target = backend.target
    yield worker, backend
    assert worker.stop()
    assert isinstance(target, DeepseekV4Target)
    assert target._sequences._sequences == {}


QUESTIONS = (
    "What is the Markov head?",
    "What is 12 + 30?",
    "Tell me a story about a fox.",
    "How do I start the server?",
    "Write a function that adds two numbers.",
    "What does DSpark do?",
    "Hello!",
    "What is 7 * 8?",
)


async def test_eight_streams_of_the_demo_on_four_slots_say_what_they_say_alone(
    demo: tuple[EngineWorker, NativeBackend],
) -> None:
    worker, backend = demo
    requests = [asked(text, 16 + 4 * n, KINDS[n % 4]) for n, text in enumerate(QUESTIONS)]
    await read(worker.submit(requests[1]))  # matrices that are expanded at their first use are there now
    held = backend.target.bytes_held()
    together = await asyncio.gather(*(read(worker.submit(request)) for request in requests))
    assert backend.target.bytes_held() == held
    for request, events in zip(requests, together, strict=True):
        plain = ChatRequest(request.messages, request.sampling, SpeculationSettings.parse("off"))
        [*_, expected] = await read(worker.submit(plain))
        assert isinstance(expected, Finished)
        assert isinstance(events[-1], Finished)
        assert events[-1].token_ids == expected.token_ids
        assert text_of(events)


async def test_a_conversation_without_an_id_goes_on_from_its_own_cache(
    demo: tuple[EngineWorker, NativeBackend],
) -> None:
    worker, _ = demo
    first = await asyncio.gather(*(read(worker.submit(asked(text, 20))) for text in QUESTIONS[:3]))
    for text, events in zip(QUESTIONS[:3], first, strict=True):
        assert isinstance(events[-1], Finished)
        messages = (ChatMessage("user", text), ChatMessage("assistant", text_of(events)), ChatMessage("user", "Why?"))
        request = ChatRequest(messages, SamplingSettings(temperature=0.0, max_tokens=5))
        [*_, done] = await read(worker.submit(request))
        assert isinstance(done, Finished)
        assert done.stats.cached_tokens >= events[-1].stats.prompt_tokens


async def test_a_client_that_joins_another_with_the_same_instructions_reads_them_from_its_cache(
    demo: tuple[EngineWorker, NativeBackend],
) -> None:
    worker, _ = demo
    instructions = ChatMessage("system", "You answer questions about this program. Say it in short sentences. " * 4)

    def request(text: str, tokens: int, spec: str) -> ChatRequest:
        plain = asked(text, tokens, spec)
        return ChatRequest((instructions, *plain.messages), plain.sampling, plain.speculation)

    await worker.ask(forget)
    first = worker.submit(request(QUESTIONS[0], 60, "static:3"))
    while not isinstance(await first.arrivals.get(), TextDelta):
        pass
    [*_, second] = await read(worker.submit(request(QUESTIONS[2], 25, "static:5")))
    first.cancel()
    [*_, end] = await read(first)
    assert isinstance(second, Finished)
    assert isinstance(end, Finished)
    assert second.stats.cached_tokens > 32
    assert second.stats.accepted_tokens > 0
    for text, done in ((QUESTIONS[2], second), (QUESTIONS[0], end)):
        await worker.ask(forget)
        [*_, alone] = await read(worker.submit(request(text, max(len(done.token_ids), 1), "off")))
        assert isinstance(alone, Finished)
        assert alone.stats.cached_tokens == 0
        assert alone.token_ids == done.token_ids


def forget(backend: Backend) -> None:
    """Empty every idle cache."""
    assert isinstance(backend, NativeBackend)
    backend._pool.close()
