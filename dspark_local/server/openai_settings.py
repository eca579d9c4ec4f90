"""What the OpenAI families share on the way in: model, sampling, thinking, tools' choice and the answer's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.errors import ContextLengthError, UsageError
from dspark_local.request import (
    ChatMessage,
    OutputFormat,
    SamplingSettings,
    SpeculationSettings,
    ThinkingMode,
)
from dspark_local.server.faults import RequestFaultError
from dspark_local.server.schemas.sampling import WireEngineOptions, WireSampling

Thinking = tuple[ThinkingMode, Literal["high", "max"] | None]
"""The mode, and how hard to think."""

_EFFORTS: Mapping[str, Literal["high", "max"] | None] = {
    "none": None,
    "minimal": None,
    "low": "high",
    "medium": "high",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}

_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
)


_NAMED_FIELDS = frozenset((*_SAMPLING_FIELDS, "max_tokens", "tool_choice", "top_logprobs"))


def check_model(wire: WireSampling, info: ModelInfo) -> None:
    """RequestFaultError (404) when another model than the loaded one is asked for, or more than one answer (400)."""
    if wire.model and wire.model != info.id:
        raise RequestFaultError(
            f"There is no model {wire.model[:100]!r} here.",
            code="model_not_found",
            param="model",
            hint=f"The loaded model is {info.id!r}.",
        )
    if wire.n not in (None, 1):
        raise RequestFaultError(
            f"n is {wire.n}, but a request gets one answer.",
            code="unsupported_value",
            param="n",
            hint="Send the request as often as answers are wanted; the prompt is read once.",
        )


def sampling_of(wire: WireSampling, info: ModelInfo, max_tokens: int | None) -> SamplingSettings:
    """Sampling as asked for, the rest as the model recommends. Raises UsageError, see naming_fields."""
    given: dict[str, Any] = {
        "temperature": info.recommended_temperature,
        "top_p": info.recommended_top_p,
        "max_tokens": max_tokens,
        "stop": (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
    }
    given |= {name: value for name in _SAMPLING_FIELDS if (value := getattr(wire, name)) is not None}
    return SamplingSettings(**given)


@contextmanager
def naming_fields(**renamed: str) -> Iterator[None]:
    """A UsageError of the engine gets the field it is about in `param`, where clients look.

    The engine's messages begin with the field; renamed says what that is called on this route, where it differs, and
    under `schema` which field holds a schema that cannot be enforced. A prompt that is too long is about `messages`.
    """
    try:
        yield
    except RequestFaultError:
        raise
    except ContextLengthError as error:
        # Clients look into the words, litellm and agents for OpenAI's, langchain for Anthropic's: then they shorten
        # the conversation instead of giving up.
        error.message = (
            f"This model's maximum context length is {error.context_length} tokens, and the prompt is too long: "
            f"{error.prompt_tokens} tokens."
        )
        error.param = renamed.get("messages", "messages")  # type: ignore[attr-defined]  # as faults.error_body reads it
        raise
    except UsageError as error:
        field = error.message.split()[0]
        if error.code == "invalid_json_schema":
            error.param = renamed.get("schema")  # type: ignore[attr-defined]  # as faults.error_body reads it
        elif field in _NAMED_FIELDS:
            param = renamed.get(field, field)
            fault = RequestFaultError(error.message.replace(field, param, 1), param=param, hint=error.hint)
            fault.code = error.code
            raise fault from error
        raise


def speculation_of(options: WireEngineOptions | None) -> SpeculationSettings:
    """How the extension asks to speculate; auto without one."""
    asked = options.speculation if options is not None else None
    return SpeculationSettings.parse(asked) if asked is not None else SpeculationSettings()


def thinking_of(effort: str | None, switch: bool | None, *, param: str) -> Thinking:
    """Mode and effort of OpenAI's effort levels; an explicit switch decides about the mode. No wish is chat mode."""
    if effort is not None and effort not in _EFFORTS:
        raise RequestFaultError(f"{param} must be one of {', '.join(_EFFORTS)}.", param=param)
    level = _EFFORTS[effort] if effort is not None else None
    thinks = switch if switch is not None else level is not None
    return ("thinking", level) if thinks else ("chat", None)


def output_format_of(form: Mapping[str, Any] | None, *, param: str) -> OutputFormat | None:
    """The form of the answer; None for text. The schema stands in "json_schema" (chat) or beside type (responses)."""
    kind = form.get("type", "text") if form is not None else "text"
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat("json_object")
    if kind == "json_schema":
        holder = form.get("json_schema", form)
        schema = holder.get("schema") if isinstance(holder, Mapping) else None
        if isinstance(schema, Mapping):
            return OutputFormat("json_schema", schema)
        raise RequestFaultError(f"{param} is json_schema, but has no schema.", param=param)
    raise RequestFaultError(
        f"{param} must be of type text, json_object or json_schema.", code="unsupported_value", param=param
    )


def with_output_format(messages: Sequence[ChatMessage], form: OutputFormat | None) -> tuple[ChatMessage, ...]:
    """The messages with the schema told where V4 learnt to look for it: at the end of the system message."""
    if form is None or form.schema is None:
        return tuple(messages)
    place = next((index for index, message in enumerate(messages) if message.role == "system"), None)
    if place is None:
        return (ChatMessage("system", response_format=form.schema), *messages)
    told = replace(messages[place], response_format=form.schema)
    return (*messages[:place], told, *messages[place + 1 :])
