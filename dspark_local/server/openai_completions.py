"""Between OpenAI's older completions and the engine: a prompt is continued as it stands, without chat encoding."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished, TextDelta, TokenLogprobs
from dspark_local.request import TokenRequest
from dspark_local.server.faults import RequestFaultError, error_body
from dspark_local.server.openai_figures import DONE, finish_reason, progress_of, speculation_asked, stats_of, usage_of
from dspark_local.server.openai_logprobs import PendingLogprobs, completion_logprobs
from dspark_local.server.openai_settings import (
    check_model,
    output_format_of,
    sampling_of,
    speculation_of,
)
from dspark_local.server.schemas.completions import WireCompletion, WireCompletionChoice, WireCompletionRequest
from dspark_local.server.streaming import sse
from dspark_local.wire import WireExtension


def prompt_of(wire: WireCompletionRequest) -> str | Sequence[int]:
    """The one prompt, as text or as token ids. Raises RequestFaultError for several and for an empty one."""
    prompt: str | Sequence[int | str | list[int]] = wire.prompt
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        if len(prompt) > 1:
            raise RequestFaultError(
                f"{len(prompt)} prompts came in one request, but a request gets one answer.",
                code="unsupported_value",
                param="prompt",
                hint="Send one request a prompt; they run side by side.",
            )
        prompt = prompt[0]  # one of the two, the schema has seen to it
    if not prompt:
        raise RequestFaultError("The prompt is empty.", param="prompt", hint="Give at least one token.")
    return prompt  # type: ignore[return-value]  # a list of ids by now


def check_completion(wire: WireCompletionRequest, info: ModelInfo) -> None:
    """RequestFaultError for another model and for what this server does not do, and why."""
    check_model(wire, info)
    if wire.best_of not in (None, 1):
        raise RequestFaultError(
            f"best_of is {wire.best_of}, but a request gets one answer.", code="unsupported_value", param="best_of"
        )
    if wire.echo:
        raise RequestFaultError(
            "echo is not supported: the answer holds only what is generated.",
            code="unsupported_parameter",
            param="echo",
            hint="Put the prompt in front yourself; `dspark-local score` gives the log-probabilities of a text.",
        )
    if wire.suffix:
        raise RequestFaultError(
            "suffix is not supported: the model was not trained to fill a gap.",
            code="unsupported_parameter",
            param="suffix",
            hint="Describe the gap in a chat message instead.",
        )


def to_token_request(wire: WireCompletionRequest, prompt_ids: Sequence[int], info: ModelInfo) -> TokenRequest:
    """The engine's request for a checked body whose prompt has become ids."""
    extension = wire.dspark
    return TokenRequest(
        prompt_ids=tuple(prompt_ids),
        sampling=sampling_of(wire, info, wire.max_tokens),
        speculation=speculation_of(extension),
        conversation_id=extension.conversation_id if extension is not None else None,
        top_logprobs=wire.logprobs,
        output_format=output_format_of(wire.response_format, param="response_format"),
    )


class CompletionWriter:
    """Words an answer, streamed or whole; implements StreamWriter and AnswerBuilder of routes.answering."""

    def __init__(self, info: ModelInfo, request: TokenRequest, *, include_usage: bool = False) -> None:
        self._blank = WireCompletion(id=f"cmpl-{uuid.uuid4().hex}", created=int(time.time()), model=info.id)
        self._speculation = speculation_asked(request)
        self._include_usage = include_usage
        self._wants_logprobs = request.top_logprobs is not None
        self._pending = PendingLogprobs()
        self._told: list[TokenLogprobs] = []
        self._text: list[str] = []
        self._length = 0

    # ---- streamed

    def opening(self) -> Iterable[bytes]:
        """Nothing: the first chunk with text says it all."""
        return ()

    def write(self, event: Event) -> Iterable[bytes]:
        """The chunks of one event. Raises EngineUnavailableError when the answer was cut off."""
        if isinstance(event, TextDelta):
            logprobs = completion_logprobs(self._pending.take(), self._length)
            self._length += len(event.text)
            return [self._chunk(choices=[WireCompletionChoice(text=event.text, logprobs=logprobs)])]
        if isinstance(event, TokenLogprobs):
            self._pending.add(event)
        elif isinstance(event, Finished):
            end = WireCompletionChoice(finish_reason=_reason(event), stop_reason=event.stop_string)
            last = self._chunk(choices=[end], dspark=self._stats(event))
            return [last, self._chunk(usage=usage_of(event.stats))] if self._include_usage else [last]
        elif (extension := progress_of(event)) is not None:
            # An empty choice comes along, because many clients read choices[0].text without looking.
            return [self._chunk(choices=[WireCompletionChoice()], dspark=extension)]
        return ()

    def fail(self, error: DsparkError) -> Iterable[bytes]:
        """The end of a stream that broke off."""
        return [sse(error_body(error))]

    def closing(self) -> Iterable[bytes]:
        """The end of a complete stream."""
        return [DONE]

    # ---- whole

    def add(self, event: Event) -> None:
        """Take in any event before Finished."""
        if isinstance(event, TokenLogprobs):
            self._pending.add(event)
        elif isinstance(event, TextDelta):
            self._text.append(event.text)
            self._told += self._pending.take()

    def answer(self, finished: Finished) -> dict[str, Any]:
        """The body of the whole answer. Raises EngineUnavailableError when it was cut off."""
        choice = WireCompletionChoice(
            text="".join(self._text),
            logprobs=completion_logprobs(self._told, 0) if self._wants_logprobs else None,
            finish_reason=_reason(finished),
            stop_reason=finished.stop_string,
        )
        fields = {"choices": [choice], "usage": usage_of(finished.stats), "dspark": self._stats(finished)}
        return self._blank.model_copy(update=fields).payload()

    def _stats(self, finished: Finished) -> WireExtension:
        return WireExtension(stats=stats_of(finished.stats, self._speculation))

    def _chunk(self, **fields: Any) -> bytes:
        return sse(self._blank.model_copy(update=fields).payload())


def _reason(finished: Finished) -> Literal["stop", "length"]:
    return "length" if finish_reason(finished) == "length" else "stop"
