"""What the OpenAI families share on the way in: model, sampling, thinking, tools' choice and the answer's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from dspark_local.backend import ModelInfo
from dspark_local.errors import UsageError
from dspark_local.request import (
    ChatMessage,
    NamedTool,
    OutputFormat,
    SamplingSettings,
    SpeculationSettings,
    ThinkingMode,
    ToolChoice,
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
    """Sampling as asked for, the rest as the model recommends. Raises UsageError: call it within naming_fields."""
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
    """A UsageError of the engine's request types, with the field it begins with in `param`, where clients look.

    renamed: what the engine's fields are called on this route, where that differs.
    """
    try:
        yield
    except RequestFaultError:
        raise
    except UsageError as error:
        field = error.message.split()[0]
        known = field in (*_SAMPLING_FIELDS, "max_tokens", "stop", "tool_choice", "top_logprobs")
        param = renamed.get(field, field) if known else None
        message = error.message.replace(field, param) if param is not None else error.message
        raise RequestFaultError(message, code=error.code, param=param, hint=error.hint) from error


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


def tool_choice_of(choice: str | Mapping[str, Any] | None) -> ToolChoice:
    """Any of OpenAI's forms: a word, {"type": "function", "name"} or {"type": "function", "function": {"name"}}."""
    if choice is None:
        return "auto"
    if choice in ("auto", "none", "required"):
        return choice  # type: ignore[return-value]  # mypy does not narrow by `in`
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and name:
            return NamedTool(name)
    raise RequestFaultError(
        "tool_choice must be auto, none, required, or name one function.",
        code="unsupported_value",
        param="tool_choice",
    )


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
