from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from dspark_local.answer_stream import RoundSummary
from dspark_local.client import EngineClient
from dspark_local.errors import CheckpointError, ContextLengthError, DsparkError, EngineUnavailableError, UsageError
from dspark_local.events import Finished, PrefillProgress, SpeculationState, TextDelta
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings, ToolCall
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.operations import install_operations
from dspark_local.server.worker import EngineWorker
from tests.tui.fake_engine import ANSWER, FARES, REASONING, FakeBackend, slow_loader

Connect = Callable[..., EngineClient]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Clients wired straight to a server around the given loader."""
    opened: list[tuple[EngineClient, EngineWorker]] = []

    def make(loader: Callable[..., FakeBackend], key: str | None = "secret") -> EngineClient:
        worker = EngineWorker(loader)
        app = create_app(worker, Access("secret"))
        install_operations(app, lambda: EngineWorker(loader))
        worker.start()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = EngineClient("http://127.0.0.1/v1", key, transport=transport)
        opened.append((client, worker))
        return client

    yield make
    for client, worker in opened:
        await client.close()
        assert worker.stop()


def asks(prompt: str, **extra: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", prompt),), **extra)


def streaming(answer: Callable[[httpx.Request], httpx.Response]) -> EngineClient:
    return EngineClient("http://elsewhere", transport=httpx.MockTransport(answer))


class SlowThenReady:
    """Times out on the first two requests, as a process does that is still importing its libraries."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls <= 2:
            raise httpx.ReadTimeout("busy", request=request)
        body = {"status": "ok"} if request.url.path == "/health" else {"object": "list", "data": [{"id": "m"}]}
        return httpx.Response(200, json=body)


async def test_an_engine_too_busy_to_answer_is_waited_for_while_its_process_lives() -> None:
    client = streaming(SlowThenReady())
    assert (await client.wait_until_ready(poll_seconds=0.01, is_alive=lambda: True)).id == "m"
    await client.close()


async def test_an_engine_that_does_not_answer_and_whose_process_is_gone_is_not_waited_for() -> None:
    client = streaming(SlowThenReady())
    with pytest.raises(EngineUnavailableError, match="did not answer in time"):
        await client.wait_until_ready(poll_seconds=0.01, is_alive=lambda: False)
    await client.close()


async def test_waiting_for_a_loading_engine_shows_progress_and_ends_with_the_models_facts(connect: Connect) -> None:
    seen: list[int] = []
    info = await connect(slow_loader(0.3, 0.0)).wait_until_ready(
        lambda progress: seen.append(progress.done_bytes), poll_seconds=0.02
    )
    assert (info.id, info.is_demo, info.context_length, info.draft_block_size) == ("dspark-demo", True, 2048, 5)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 20_000_000


async def test_a_failed_load_raises_what_the_server_says(connect: Connect) -> None:
    client = connect(slow_loader(0.0, 0.0, fails=True))
    with pytest.raises(DsparkError, match="Shard 2 of 3") as caught:
        await client.wait_until_ready(poll_seconds=0.01)
    assert caught.value.code == CheckpointError.code
    assert caught.value.hint == "Download it again."


async def test_a_chat_yields_prefill_text_rounds_and_figures(connect: Connect) -> None:
    client = connect(lambda progress: FakeBackend())
    await client.wait_until_ready(poll_seconds=0.01)
    events = [event async for event in client.chat(asks("hi", thinking="thinking"))]
    assert isinstance(events[0], PrefillProgress)
    texts = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(event.text for event in texts if event.channel == "reasoning") == REASONING
    assert "".join(event.text for event in texts if event.channel == "content") == ANSWER
    rounds = [event for event in events if isinstance(event, RoundSummary)]
    used = rounds[0].context_used
    said = ("The", " question", " is", " about")
    assert rounds[0] == RoundSummary(5, 4, 3, used, "draft", 0.001, 0.004, SpeculationState("on", 1.6, 5), texts=said)
    assert (rounds[3].source, rounds[3].speculation) == ("lookup", FARES)
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.stats.passes == len(rounds)
    assert last.stats.accepted_length > 1
    assert last.stats.speculation == FARES
    assert (last.stats.context_length, last.stats.context_used) == (2048, rounds[-1].context_used)


async def test_settings_and_history_reach_the_engine_unchanged(connect: Connect) -> None:
    backend = FakeBackend()
    client = connect(lambda progress: backend)
    await client.wait_until_ready(poll_seconds=0.01)
    history = (
        ChatMessage("user", "a"),
        ChatMessage("assistant", "", reasoning="why", tool_calls=(ToolCall("call_1", "f", "{}"),)),
        ChatMessage("tool", "42", tool_call_id="call_1"),
    )
    sampling = SamplingSettings(temperature=0.7, top_k=5, seed=3, max_tokens=4, stop=("x",), presence_penalty=0.5)
    request = ChatRequest(
        history, sampling, SpeculationSettings.parse("threshold:0.25"), "thinking", "max", conversation_id="c"
    )
    async for _ in client.chat(request):
        pass
    assert backend.requests == [request]


async def test_the_tokens_of_a_text_are_counted_as_the_engine_would_cut_it(connect: Connect) -> None:
    client = connect(lambda progress: FakeBackend())
    await client.wait_until_ready(poll_seconds=0.01)
    text = "Ein Wörterbuch <｜User｜>\n"
    assert await client.count_tokens(text) == len(FakeBackend().tokenize(text))
    assert await client.count_tokens("") == 0
    with pytest.raises(EngineUnavailableError, match="API key"):
        await connect(lambda progress: FakeBackend(), key="wrong").count_tokens("x")


@pytest.mark.parametrize(
    ("status", "said", "count"),
    [
        (404, "not found", None),
        (405, "", None),
        (200, "<h1>a page</h1>", None),
        (200, "[]", None),
        (200, '{"tokens": 3}', None),
        (200, '{"count": 3, "max_model_len": 9, "tokens": [5, 6, 7]}', 3),  # vLLM
        (200, '{"tokens": [{"id": 1, "piece": "a"}]}', 1),  # llama.cpp, where pieces are asked for
    ],
)
async def test_a_server_that_counts_no_tokens_is_told_from_one_that_does(
    status: int, said: str, count: int | None
) -> None:
    client = streaming(lambda request: httpx.Response(status, text=said))
    assert await client.count_tokens("a b c") == count


async def test_a_prompt_too_long_comes_back_as_the_error_with_its_numbers(connect: Connect) -> None:
    client = connect(lambda progress: FakeBackend())
    await client.wait_until_ready(poll_seconds=0.01)
    with pytest.raises(ContextLengthError) as caught:
        await anext(client.chat(asks("too long")))
    assert (caught.value.prompt_tokens, caught.value.context_length) == (3000, 2048)
    with pytest.raises(UsageError, match="Speculation"):
        await anext(client.chat(asks("x", speculation=SpeculationSettings("static", -1))))


async def test_a_wrong_key_and_a_refused_connection_say_so(connect: Connect) -> None:
    with pytest.raises(EngineUnavailableError, match="API key"):
        await connect(lambda progress: FakeBackend(), key="wrong").models()
    async with EngineClient("http://127.0.0.1:9") as client:
        with pytest.raises(EngineUnavailableError, match="No engine answers at"):
            await client.health()


NO_ADDRESSES = ["", "localhost:8000", "ftp://a", "http://", "http://:80", "http://a b", "http://a:0", "http://a:65536"]


@pytest.mark.parametrize("address", [*NO_ADDRESSES, "http://a:port", "http://[::1"])
def test_what_is_no_servers_address_is_refused_with_an_example_of_one(address: str) -> None:
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:8484"):
        EngineClient(address)


@pytest.mark.parametrize("address", ["http://a", "https://a.b:65535/v1", "http://[::1]:1/", "http://a/prefix/v1"])
async def test_addresses_of_servers_are_taken_with_and_without_v1(address: str) -> None:
    async with EngineClient(address) as client:
        assert client.base_url == address.rstrip("/").removesuffix("/v1")


@pytest.mark.parametrize("breaks", [True, False])
async def test_a_stream_that_breaks_off_yields_what_came_and_then_says_so(breaks: bool) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b'data: {"choices":[{"index":0,"delta":{"content":"half an"}}]}\n\n'
        if breaks:
            raise httpx.RemoteProtocolError("peer closed")

    client = streaming(lambda request: httpx.Response(200, content=stream()))
    answer = client.chat(asks("x"))
    assert await anext(answer) == TextDelta("half an")
    with pytest.raises(EngineUnavailableError, match="broke off"):
        await anext(answer)


@pytest.mark.parametrize(
    "answer", [ChatMessage("assistant", "Twelve", prefix=True), ChatMessage("assistant", reasoning="So", prefix=True)]
)
async def test_the_beginning_of_an_answer_reaches_the_engine_as_such(connect: Connect, answer: ChatMessage) -> None:
    backend = FakeBackend()
    client = connect(lambda progress: backend)
    await client.wait_until_ready(poll_seconds=0.01)
    request = ChatRequest((ChatMessage("user", "a"), answer), thinking="thinking")
    async for _ in client.chat(request):
        pass
    assert [asked.continued for asked in backend.requests] == [answer]


async def test_other_servers_are_asked_to_go_on_in_the_words_of_each() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, text="data: [DONE]\n\n")

    client = streaming(answer)
    for last in (ChatMessage("assistant", "Twelve", prefix=True), ChatMessage("user", "b")):
        async for _ in client.chat(ChatRequest((ChatMessage("user", "a"), last))):
            pass
    assert sent[0]["messages"][-1] == {"role": "assistant", "content": "Twelve", "prefix": True}  # DeepSeek
    assert (sent[0]["continue_final_message"], sent[0]["add_generation_prompt"]) == (True, False)  # vLLM, SGLang
    assert "continue_final_message" not in sent[1]
    assert "prefix" not in sent[1]["messages"][-1]


async def test_a_foreign_server_works_without_our_extension_or_figures() -> None:
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"object": "list", "data": [{"id": "big", "object": "model"}]})
        if request.url.path == "/health":
            return httpx.Response(404)
        sent.append(request.content)
        text = (
            ': ping\n\ndata: {"choices":[{"delta":{"role":"assistant","reasoning":"hm"}}]}\n\n'
            'data: {"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}\n\n'
            'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
            "data: [DONE]\n\n"
        )
        return httpx.Response(200, text=text)

    client = streaming(answer)
    info = await client.wait_until_ready()
    assert (info.id, info.context_length) == ("big", 0)
    events = [event async for event in client.chat(asks("x"))]
    assert events[:2] == [TextDelta("hm", "reasoning"), TextDelta("yes")]
    last = events[2]
    assert isinstance(last, Finished)
    assert (last.stats.completion_tokens, last.stats.context_used, last.stats.passes) == (2, 5, 0)
    assert b"dspark" not in sent[0]


@pytest.mark.parametrize(("told", "stop_string"), [('"END"', "END"), ("1", None), ("null", None)])
async def test_the_stop_string_is_told_apart_from_an_end_token(told: str, stop_string: str | None) -> None:
    text = f'data: {{"choices":[{{"delta":{{}},"finish_reason":"stop","stop_reason":{told}}}]}}\n\ndata: [DONE]\n\n'
    client = streaming(lambda request: httpx.Response(200, text=text))
    last = await anext(client.chat(asks("x")))
    assert isinstance(last, Finished)
    assert (last.reason, last.stop_string) == ("stop", stop_string)


async def test_a_round_that_tells_no_state_of_speculation_leaves_it_unknown() -> None:
    round_ = '{"drafted":5,"verified":4,"accepted":3,"context_used":9}'
    text = f'data: {{"choices":[],"dspark":{{"round":{round_}}}}}\n\ndata: [DONE]\n\n'
    client = streaming(lambda request: httpx.Response(200, text=text))
    assert await anext(client.chat(asks("x"))) == RoundSummary(5, 4, 3, 9, speculation=None)


async def test_a_web_server_that_is_no_model_server_is_named_without_its_page() -> None:
    client = streaming(lambda request: httpx.Response(404, html="<h1>Not here</h1>"))
    with pytest.raises(DsparkError, match=r"answered 404: no reason given\. Is that .* OpenAI-compatible") as caught:
        await client.wait_until_ready()
    assert "<h1>" not in str(caught.value)
    plain = streaming(lambda request: httpx.Response(502, text="upstream is away"))
    with pytest.raises(DsparkError, match="answered 502: upstream is away"):
        await plain.wait_until_ready()


@pytest.mark.parametrize("garbage", ["not json", "[]", '{"choices": 3}'])
async def test_garbage_in_the_stream_is_one_clear_error(garbage: str) -> None:
    client = streaming(lambda request: httpx.Response(200, text=f"data: {garbage}\n\n"))
    with pytest.raises(EngineUnavailableError, match="no chat chunk"):
        await anext(client.chat(asks("x")))


def test_client_wire_and_chat_load_no_torch_no_engine_and_no_server() -> None:
    code = (
        "import sys, dspark_local.client, dspark_local.wire, dspark_local.paths, dspark_tui, dspark_tui.cli\n"
        "assert 'textual' not in sys.modules, 'textual is for the running app only'\n"
        "import dspark_tui.app\n"
        "heavy = ('torch', 'dspark_models', 'dspark_kernels', 'dspark_local.engine', 'dspark_local.server')\n"
        "loaded = [name for name in heavy if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
