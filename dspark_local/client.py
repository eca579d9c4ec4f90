"""Async client of the engine process, and of any other OpenAI-compatible server.

Speaks HTTP and server-sent events, hands out the same events an engine yields. Nothing here imports torch.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from pydantic import ValidationError

from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.errors import ContextLengthError, DsparkError, EngineUnavailableError, UsageError
from dspark_local.events import (
    Finished,
    FinishReason,
    GenerationStats,
    PrefillProgress,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings
from dspark_local.wire import (
    WireChunk,
    WireError,
    WireErrorBody,
    WireHealth,
    WireModelEntry,
    WireModelList,
    WireStats,
    WireUsage,
)

_CONNECT_SECONDS = 5.0
# Our server sends a sign of life every 10 s; others may read a long prompt in silence.
_READ_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """One target pass as the wire tells it; context_used counts the sequence's tokens after it."""

    drafted: int
    verified: int
    accepted: int
    context_used: int


ClientEvent = PrefillProgress | TextDelta | ToolCallStarted | ToolArgumentsDelta | RoundSummary | Finished


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
        if not self.base_url.startswith(("http://", "https://")):
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
        error = _to_error(wire.error, response.status_code) if wire.error is not None else None
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

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ClientEvent, None]:
        """Stream one answer; the last event is Finished. Closing the generator cancels the answer on the server.

        Raises EngineUnavailableError when the server cannot be reached or the stream breaks off (what came before
        was already yielded), ContextLengthError, UsageError or DsparkError for what the server refuses.
        """
        body = self._body(request)
        reader = _ChunkReader(time.monotonic())
        async with self._reaching(), self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                raise await _error_of(response)
            async with aclosing(_sse_data(response)) as events:
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
        if self._is_ours:
            body["dspark"] = {
                "conversation_id": request.conversation_id,
                "speculation": _speculation(request),
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


# ---- answer


@dataclass
class _ChunkReader:
    """Turns the chunks of one stream into events and remembers what Finished needs.

    started is the monotonic time in seconds of the request: foreign servers send no times, so they are taken here.
    """

    started: float
    first_token: float | None = None
    reason: FinishReason = "stop"
    usage: WireUsage = field(default_factory=WireUsage)
    stats: WireStats | None = None

    def read(self, data: str) -> list[ClientEvent]:
        """Events of one `data:` line. Raises the error it carries, EngineUnavailableError when it is no chunk."""
        try:
            decoded = json.loads(data)
            if isinstance(decoded, dict) and "error" in decoded:
                raise _to_error(WireErrorBody.model_validate(decoded).error, 500)
            chunk = WireChunk.model_validate(decoded)
        except ValueError as error:  # pydantic's ValidationError is one too
            raise EngineUnavailableError("The server sent something that is no chat chunk.") from error
        if chunk.usage is not None:
            self.usage = chunk.usage
        events: list[ClientEvent] = []
        if chunk.dspark is not None:
            self.stats = chunk.dspark.stats or self.stats
            if (prefill := chunk.dspark.prefill) is not None:
                events.append(PrefillProgress(prefill.done, prefill.total, prefill.cached))
            if (figures := chunk.dspark.round) is not None:
                events.append(RoundSummary(figures.drafted, figures.verified, figures.accepted, figures.context_used))
        if chunk.choices:
            choice = chunk.choices[0]
            self.reason = choice.finish_reason or self.reason
            events += self._delta_events(chunk)
        return events

    def _delta_events(self, chunk: WireChunk) -> list[ClientEvent]:
        delta = chunk.choices[0].delta
        events: list[ClientEvent] = []
        if reasoning := delta.reasoning or delta.reasoning_content:
            events.append(TextDelta(reasoning, "reasoning"))
        if delta.content:
            events.append(TextDelta(delta.content))
        for call in delta.tool_calls or ():
            function = call.function
            if call.id is not None and function is not None and function.name:
                events.append(ToolCallStarted(call.index, call.id, function.name))
            if function is not None and function.arguments:
                events.append(ToolArgumentsDelta(call.index, function.arguments))
        if events and self.first_token is None:
            self.first_token = time.monotonic()
        return events

    def finished(self) -> Finished:
        """The last event: the server's figures, or what the client could see itself."""
        counts = GenerationStats(
            prompt_tokens=self.usage.prompt_tokens,
            cached_tokens=details.cached_tokens if (details := self.usage.prompt_tokens_details) else 0,
            completion_tokens=self.usage.completion_tokens,
            reasoning_tokens=split.reasoning_tokens if (split := self.usage.completion_tokens_details) else 0,
            **(self._measured() if self.stats is None else _told(self.stats)),
        )
        return Finished(self.reason, (), counts)

    def _measured(self) -> dict[str, Any]:
        now = time.monotonic()
        first = self.first_token or now
        return {
            "prefill_seconds": first - self.started,
            "decode_seconds": now - first,
            "context_used": self.usage.total_tokens,
        }


def _told(stats: WireStats) -> dict[str, Any]:
    return {
        "passes": stats.passes,
        "prefill_seconds": stats.time_to_first_token,
        "decode_seconds": stats.decode_seconds,
        "drafted_tokens": stats.drafted_tokens,
        "verified_tokens": stats.verified_tokens,
        "accepted_tokens": stats.accepted_tokens,
        "verified_per_position": tuple(stats.verified_per_position),
        "accepted_per_position": tuple(stats.accepted_per_position),
        "context_used": stats.context_used,
        "context_length": stats.context_length,
    }


async def _sse_data(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of each server-sent event; comments and other fields are skipped."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines.clear()


def _model_info(entry: WireModelEntry) -> ModelInfo:
    facts = entry.dspark
    if facts is None:
        return ModelInfo(id=entry.id, context_length=0, device="remote", dtype="")
    return ModelInfo(id=entry.id, **facts.model_dump())


# ---- errors


async def _error_of(response: httpx.Response) -> DsparkError:
    content = await response.aread()
    try:
        wire = WireErrorBody.model_validate_json(content).error
    except ValidationError:
        text = content.decode("utf-8", "replace").strip()[:300]
        wire = WireError(message=f"The server answered {response.status_code}: {text or 'no reason given'}.")
    return _to_error(wire, response.status_code)


def _to_error(wire: WireError, status: int) -> DsparkError:
    if wire.code == "context_length_exceeded" and wire.n_prompt_tokens is not None and wire.n_ctx is not None:
        return ContextLengthError(wire.n_prompt_tokens, wire.n_ctx)
    hint = wire.hint or ""
    message = wire.message.removesuffix(hint).rstrip() or "The server gave no reason."
    if status == 401:
        return EngineUnavailableError(
            "The server does not accept the API key.", hint="Set DSPARK_API_KEY to the key of that server."
        )
    kind: type[DsparkError] = UsageError if 400 <= status < 500 else DsparkError
    error = kind(message, hint=hint)
    error.code = wire.code or error.code
    return error
