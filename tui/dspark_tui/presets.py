"""How a conversation asks: its settings as a preset, what a request gets of them, and how they are said in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from dspark_local.backend import ModelInfo
from dspark_local.errors import UsageError
from dspark_local.request import SamplingSettings
from dspark_tui.settings_file import Preset

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed")
_SHORT = {"temperature": "temp", "repetition_penalty": "repetition", "reasoning_effort": "effort"}


def preset_of(settings: Mapping[str, Any]) -> Preset:
    """What `settings` of a conversation say; entries that make no sense count as not there."""
    entries = {name: settings[name] for name in Preset.model_fields if settings.get(name) is not None}
    try:
        return Preset.model_validate(entries)
    except ValidationError as error:
        wrong = {found["loc"][0] for found in error.errors()}
        return Preset.model_validate({name: value for name, value in entries.items() if name not in wrong})


def apply_preset(settings: dict[str, Any], preset: Preset, name: str = "") -> None:
    """Make `settings` say what the preset says, and nothing else of what a preset can say; name "" is no preset's."""
    for field in Preset.model_fields:
        settings.pop(field, None)
    settings |= preset.model_dump(exclude_defaults=True)
    settings.pop("preset", None)
    if name:
        settings["preset"] = name


def changed(preset: Preset, name: str, text: str) -> Preset:
    """The preset with one value as a person wrote it; an empty one takes the model's own. Raises UsageError."""
    text = text.strip()
    value: Any = text
    if name != "system_prompt":
        value = None if text.casefold() in ("", "-", "default") else _number(name, text)
    try:
        return Preset.model_validate({**preset.model_dump(), name: value})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"{name} {text}: {reason[:1].lower()}{reason[1:]}.", hint="Left as it was.") from error


def _number(name: str, text: str) -> float | int | str | bool:
    if name == "thinking":
        return text.casefold() in ("on", "yes", "true")
    if name == "reasoning_effort":
        return text.casefold()
    try:
        return int(text) if name in ("top_k", "max_tokens", "seed") else float(text.replace(",", "."))
    except ValueError as error:
        raise UsageError(f"{name} is a number, not {text!r}.", hint="Left as it was.") from error


def sampling_of(preset: Preset, info: ModelInfo, temperature: float | None = None) -> SamplingSettings:
    """What is sent: the preset's values, else `temperature`, else what the model recommends."""
    own = SamplingSettings(
        temperature=info.recommended_temperature if temperature is None else temperature, top_p=info.recommended_top_p
    )
    given = {name: value for name in SAMPLING if (value := getattr(preset, name)) is not None}
    return replace(own, **given)


def in_force(settings: Mapping[str, Any]) -> str:
    """Like `poet · temp 0.3 · system prompt “You are…”`: what differs from the model's own; empty without anything."""
    preset = preset_of(settings)
    parts = [str(settings["preset"])] if settings.get("preset") else []
    for name in (*SAMPLING, "reasoning_effort"):
        if (value := getattr(preset, name)) is not None:
            number = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(f"{_SHORT.get(name, name.replace('_', ' '))} {number}")
    if words := " ".join(preset.system_prompt.split()):
        parts.append(f"system prompt “{words if len(words) <= 30 else words[:29] + '…'}”")
    return " · ".join(parts)
