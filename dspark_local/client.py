"""Async client of the engine process, and of any other OpenAI-compatible server.

Speaks HTTP and server-sent events, hands out the same events an engine yields. Nothing here imports torch.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import ValidationError

from dspark_local.answer_stream import ChunkReader, ClientEvent, error_of_wire, sse_data
from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.engine_facts import EngineFacts
from dspark_local.engine_facts_client import fetch_engine_facts
from dspark_local.errors import DsparkError, EngineUnavailableError, UsageError
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings
from dspark_local.wire import WireError, WireErrorBody, WireHealth, WireModelEntry, WireModelList

_CONNECT_SECONDS = 5.0
# Our server sends a sign of life every 10 s; others may read a long prompt in silence.
_READ_SECONDS = 600.0
_COUNT_SECONDS = 30.0  # a count waits for the step of the engine that is under way, which may read a long prompt


@dataclass(frozen=True, slots=True)
class Health:
    """State of the server: progress is set while loading, error after a failed load."""

    status: Literal["ok", "loading", "failed"]
    progress: LoadProgress | None = None
    error: DsparkError | None = None


class EngineClient:
    """One server at `base_url` (with or without /v1). Use as an async context manager, or call close()."""

    def __init__(
        self, base_url: str, api_key: str | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        if not _is_address(self.base_url):
            raise UsageError(f"{base_url!r} is not a server's address.", hint="Give one like http://127.0.0.1:8484.")
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS),
            transport=transport,
            trust_env=False,  # a proxy must never see what is said to loopback
        )
        self._model: ModelInfo | None = None
        self._is_ours = False

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def health(self) -> Health:
        """Ask once; servers that have no /health but answer count as ok. Raises EngineUnavailableError."""
        async with self._reaching():
            response = await self._http.get("/health", timeout=_CONNECT_SECONDS)
        if response.status_code in (401, 403):
            raise await _error_of(response)
        try:
            wire = WireHealth.model_validate_json(response.content)
        except ValidationError:
            return Health("loading" if response.status_code == 503 else "ok")
        error = error_of_wire(wire.error, response.status_code) if wire.error is not None else None
        loading = wire.progress
        if loading is None:
            return Health(wire.status, None, error)
        return Health(wire.status, LoadProgress(loading.stage, loading.done_bytes, loading.total_bytes), error)

    async def _patient_health(self, is_alive: Callable[[], bool]) -> Health | None:
        """None when no answer came in time from a server whose process lives."""
        try:
            return await self.health()
        except EngineUnavailableError as error:
            if isinstance(error.__cause__, httpx.TimeoutException) and is_alive():
                return None
            raise

    async def wait_until_ready(
        self,
        on_progress: Callable[[LoadProgress], None] | None = None,
        *,
        poll_seconds: float = 0.1,
        is_alive: Callable[[], bool] = lambda: False,
    ) -> ModelInfo:
        """Wait while the model loads, then return its facts.

        A server that is merely slow (a busy machine, libraries being imported) is waited for as long as is_alive says
        that its process lives. Raises what loading ended with, or EngineUnavailableError when the server goes away.
        """
        while (health := await self._patient_health(is_alive)) is None or health.status == "loading":
            if health is not None and health.progress is not None and on_progress is not None:
                on_progress(health.progress)
            await asyncio.sleep(poll_seconds)
        if health.status == "failed":
            raise health.error or EngineUnavailableError("The model could not be loaded.")
        models = await self.models()
        if not models:
            raise EngineUnavailableError(f"The server at {self.base_url} offers no model.")
        self._model = models[0]
        return models[0]

    def use(self, model: ModelInfo) -> None:
        """Ask this one of the server's models from now on."""
        self._model = model

    async def models(self) -> list[ModelInfo]:
        """What the server offers; context_length is 0 where a foreign server does not say. Raises DsparkError."""
        async with self._reaching():
            response = await self._http.get("/v1/models", timeout=_CONNECT_SECONDS)
        if response.status_code != 200:
            raise await _error_of(response)
        try:
            entries = WireModelList.model_validate_json(response.content).data
        except ValidationError as error:
            raise EngineUnavailableError(
                f"{self.base_url} answers, but not like an OpenAI-compatible server.", hint="Check the address."
            ) from error
        self._is_ours = any(entry.dspark is not None for entry in entries)
        return [_model_info(entry) for entry in entries]

    async def count_tokens(self, text: str) -> int | None:
        """How many tokens the model makes of text; None where the server cannot say. Raises EngineUnavailableError."""
        async with self._reaching():
            # This server and llama.cpp's read content, vLLM's reads prompt; nobody adds anything to it.
            body = {"content": text, "prompt": text, "add_special_tokens": False}
            response = await self._http.post("/tokenize", json=body, timeout=_COUNT_SECONDS)
        if response.status_code in (401, 403):
            raise await _error_of(response)
        try:
            tokens = response.json()["tokens"] if response.status_code == 200 else None
        except (ValueError, KeyError, TypeError):
            return None
        return len(tokens) if isinstance(tokens, list) else None

    async def engine_facts(self) -> EngineFacts | None:
        """What the server's engine holds and does; None where it cannot say. Raises EngineUnavailableError."""
        if not self._is_ours:
            return None
        async with self._reaching():
            return await fetch_engine_facts(self._http)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ClientEvent, None]:
        """Stream one answer; the last event is Finished. Closing the generator cancels the answer on the server.

        Raises EngineUnavailableError when the server cannot be reached or the stream breaks off (what came before
        was already yielded), ContextLengthError, UsageError or DsparkError for what the server refuses.
        """
        body = self._body(request)
        reader = ChunkReader(time.monotonic())
        async with self._reaching(), self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                raise await _error_of(response)
            async with aclosing(sse_data(response)) as events:
                async for data in events:
                    if data == "[DONE]":
                        yield reader.finished()
                        return
                    for event in reader.read(data):
                        yield event
        raise EngineUnavailableError(
            "The connection to the engine broke off in the middle of the answer.", hint="What arrived is kept."
        )

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        thinking = request.thinking == "thinking"
        body: dict[str, Any] = {
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "chat_template_kwargs": {"enable_thinking": thinking},
            **_sampling(request.sampling),
        }
        if self._model is not None:
            body["model"] = self._model.id
        if request.reasoning_effort is not None:
            body["reasoning_effort"] = request.reasoning_effort
        if request.tools:
            body["tools"] = [dict(tool) for tool in request.tools]
        if request.continued is not None:
            # DeepSeek and this server read the mark on the message; vLLM and SGLang read these two.
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if self._is_ours:
            body["dspark"] = {
                "conversation_id": request.conversation_id,
                "speculation": _speculation(request),
                "token_texts": True,
            }
        return body

    @asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        """Turn httpx's failures into ours."""
        try:
            yield
        except httpx.ConnectError as error:
            raise EngineUnavailableError(
                f"No engine answers at {self.base_url}.", hint="Is it running, and is the address right?"
            ) from error
        except httpx.TimeoutException as error:
            raise EngineUnavailableError(f"The engine at {self.base_url} did not answer in time.") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise EngineUnavailableError(
                "The connection to the engine broke off.", hint="What arrived is kept."
            ) from error


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
        # Reading the port checks it; httpx itself lets a host with spaces and a port past 65535 through.
        is_sound = url.scheme in ("http", "https") and not re.search(r"\s|%20", text)
        return is_sound and bool(url.host) and (url.port is None or 0 < url.port < 65536)
    except httpx.InvalidURL:
        return False


# ---- request


def _sampling(settings: SamplingSettings) -> dict[str, Any]:
    """Only what differs from the neutral value, because foreign servers may refuse fields they do not know."""
    body: dict[str, Any] = {"temperature": settings.temperature}
    neutral = SamplingSettings()
    names = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed")
    for name in (*names, "max_tokens"):
        if (value := getattr(settings, name)) != getattr(neutral, name):
            body[name] = value
    if settings.stop:
        body["stop"] = list(settings.stop)
    return body


def _speculation(request: ChatRequest) -> str:
    settings = request.speculation
    values = {"static": f":{settings.draft_tokens}", "threshold": f":{settings.threshold}"}
    return settings.mode + values.get(settings.mode, "")


def _message(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.prefix:
        body["prefix"] = True
    if message.reasoning is not None:
        body["reasoning_content"] = message.reasoning
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


# ---- answers


def _model_info(entry: WireModelEntry) -> ModelInfo:
    facts = entry.dspark
    if facts is None:
        return ModelInfo(id=entry.id, context_length=0, device="remote", dtype="")
    return ModelInfo(id=entry.id, **facts.model_dump())


async def _error_of(response: httpx.Response) -> DsparkError:
    content = await response.aread()
    try:
        wire = WireErrorBody.model_validate_json(content).error
    except ValidationError:
        is_page = "html" in response.headers.get("Content-Type", "")
        text = "" if is_page else content.decode("utf-8", "replace").strip()[:300]
        wire = WireError(
            message=f"The server answered {response.status_code}: {text or 'no reason given'}.",
            hint="Is that the address of an OpenAI-compatible server?" if response.status_code == 404 else None,
        )
    return error_of_wire(wire, response.status_code)
