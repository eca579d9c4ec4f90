"""Eight streams at once for as long as one likes: every answer its own, memory flat, nobody starved."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
import pytest

from dspark_local.demo.heldout import held_out_questions
from tests.local.server.demo_process import DemoServer, demo_server

STREAMS = 8
SECONDS, FEW_QUESTIONS, QUESTIONS = 8.0, 8, 24
SPECULATION = ("off", "static:3", "threshold:0.5", "auto")
INSTRUCTIONS = "You answer questions about this program. Say it in short sentences."
MOST_GROWTH_BYTES = 48 * 2**20
LEAST_SHARE = 0.5
"""Of the passes of the stream that had most, what the one that had least must have. A pass brings one token or several,
as drafts are accepted; the turns are what the server deals out."""
LONGEST_SILENCE_SECONDS = 15.0


@dataclass
class Stream:
    """What one client saw: answers, tokens and passes received, the longest wait between two pieces."""

    answers: int = 0
    tokens: int = 0
    passes: int = 0
    longest_silence: float = 0.0
    wrong: list[str] = field(default_factory=list)


def body_of(number: int, question: str, speculation: str) -> dict[str, Any]:
    """Every third question comes with the same instructions, so that prefixes are shared."""
    messages = [{"role": "system", "content": INSTRUCTIONS}] if number % 3 == 0 else []
    return {
        "messages": [*messages, {"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 48,
        "stream": True,
        "stream_options": {"include_usage": True},
        "dspark": {"speculation": speculation},
    }


async def ask(client: httpx.AsyncClient, body: dict[str, Any], stream: Stream, until: float = 0.0) -> str:
    text, before = "", time.monotonic()
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            now = time.monotonic()
            stream.longest_silence, before = max(stream.longest_silence, now - before), now
            chunk = json.loads(line[6:])
            assert "error" not in chunk, chunk
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            stream.passes += "round" in chunk.get("dspark", {}) and now < until
            if chunk.get("usage"):
                stream.tokens += chunk["usage"]["completion_tokens"]
    stream.answers += 1
    return text


async def watch_memory(process: psutil.Process, samples: list[int]) -> None:
    while True:
        samples.append(process.memory_info().rss)
        await asyncio.sleep(0.5)


async def soak(server: DemoServer, seconds: float, count: int) -> tuple[list[Stream], list[int]]:
    """The streams, and resident bytes twice a second since every question had been answered alone."""
    questions = list(islice(held_out_questions(), count))
    streams, samples = [Stream() for _ in range(STREAMS)], list[int]()
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as client:
        alone = [await ask(client, body_of(n, text, "off"), Stream()) for n, text in enumerate(questions)]
        assert len(set(alone)) > count // 2  # answers mixed up could be told apart
        deadline = time.monotonic() + seconds

        async def keep_asking(number: int, stream: Stream) -> None:
            rng = random.Random(number)
            while time.monotonic() < deadline:
                which = rng.randrange(count)
                body = body_of(which, questions[which], rng.choice(SPECULATION))
                answer = await ask(client, body, stream, deadline)
                if answer != alone[which]:
                    stream.wrong.append(f"{questions[which]!r}: {answer!r}, alone {alone[which]!r}")

        watch = asyncio.create_task(watch_memory(server.process, samples))
        await asyncio.gather(*(keep_asking(number, stream) for number, stream in enumerate(streams)))
        watch.cancel()
    return streams, samples


def judge(streams: list[Stream], samples: list[int]) -> None:
    """Memory is compared between the middle fifth and the last: the first caches and arenas are full by then."""
    fifth = len(samples) // 5
    growth = median(samples[-fifth:]) - median(samples[2 * fifth : 3 * fifth])
    passes = [stream.passes for stream in streams]
    silence = max(stream.longest_silence for stream in streams)
    print(
        f"{sum(stream.answers for stream in streams):,} answers, {sum(stream.tokens for stream in streams):,} tokens, "
        f"a stream {min(passes):,} to {max(passes):,} passes, longest silence {silence:.2f} s, "
        f"resident {samples[0] / 2**20:.0f} MiB at first, {max(samples) / 2**20:.0f} at most, "
        f"{samples[-1] / 2**20:.0f} at last, growth {growth / 2**20:.1f} MiB"
    )
    assert [wrong for stream in streams for wrong in stream.wrong] == []
    assert growth < MOST_GROWTH_BYTES
    assert min(passes) > LEAST_SHARE * max(passes)
    assert silence < LONGEST_SILENCE_SECONDS


def run_soak(home: Path, seconds: float, questions: int) -> None:
    with demo_server(home, "--slots", str(STREAMS), "--context", "1024") as server:
        judge(*asyncio.run(soak(server, seconds, questions)))
        slots = httpx.get(server.url + "/slots", headers=server.headers).json()
        assert not any(slot["is_processing"] for slot in slots)
        assert "ERROR" not in server.logged()


def test_eight_streams_for_seconds_get_each_their_own_answers_evenly(tmp_path: Path) -> None:
    run_soak(tmp_path, SECONDS, FEW_QUESTIONS)


@pytest.mark.slow
def test_eight_streams_for_minutes_get_each_their_own_answers_in_flat_memory(tmp_path: Path) -> None:
    """DSPARK_SOAK_MINUTES says how many, 10 if it is not set."""
    run_soak(tmp_path, 60 * float(os.environ.get("DSPARK_SOAK_MINUTES", "10")), QUESTIONS)
