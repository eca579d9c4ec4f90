"""chat.toml: what a person sets once for every chat - theme, keys, presets.

A wrong entry is named with its line and left out; the rest holds. Writing changes the entry it is about and leaves
comments and order alone, and a file that could not be read is never written over.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, MutableMapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tomlkit.exceptions import TOMLKitError

from dspark_local.errors import UsageError
from dspark_local.paths import config_dir, write_atomically

FILE_NAME = "chat.toml"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Preset(_Table):
    """A named way to ask. None takes the model's own; an empty system prompt sends none.

    temperature 0 is greedy, top_k 0, top_p 1, min_p 0 and repetition_penalty 1 switch a step off.
    """

    system_prompt: str = ""
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0.0, le=1.0)
    repetition_penalty: float | None = Field(default=None, gt=0.0, le=10.0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    thinking: bool | None = None
    reasoning_effort: Literal["high", "max"] | None = None


class ChatFile(_Table):
    """What the file says, defaults where it says nothing.

    keymap (the table [keys]) gives an action's keys, separated by commas; "" leaves it without one. notify rings when
    an answer ends while the terminal is in the background. mouse False leaves selecting to the terminal.
    """

    theme: str = ""
    notify: bool = False
    mouse: bool = True
    default_preset: str = ""
    keymap: dict[str, str] = Field(default_factory=dict, alias="keys")
    presets: dict[str, Preset] = Field(default_factory=dict)
    problems: tuple[str, ...] = Field(default=(), exclude=True)
    """What was left out and why, one sentence each."""


def settings_path() -> Path:
    """Where the file is looked for. Raises OSError when its folder cannot be made."""
    return config_dir() / FILE_NAME


def load_settings() -> ChatFile:
    """Read the file; a missing one is all defaults. What is wrong is in `problems` and never raises."""
    try:
        path = settings_path()
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ChatFile()
    except (OSError, UnicodeDecodeError) as error:
        return ChatFile(problems=(f"{FILE_NAME} cannot be read: {error}. The defaults hold.",))
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return ChatFile(problems=(f"{path} is no TOML: {error}. The defaults hold until it is mended.",))
    return _validated(entries, text, path)


def _validated(entries: dict[str, Any], text: str, path: Path) -> ChatFile:
    """Leave out what is wrong, one entry of a table at a time."""
    problems: list[tuple[int, str]] = []

    def leave_out(loc: _Place, reason: str) -> None:
        line = _line_of(loc, text)
        end = "" if reason.endswith("?") else "."
        problems.append((line, f"{path}, line {line}: {'.'.join(map(str, loc))}: {reason}{end}"))
        table = entries[str(loc[0])] if len(_droppable(loc)) > 1 else entries
        table.pop(str(_droppable(loc)[-1]), None)

    if "problems" in entries:  # ours, not the file's
        leave_out(("problems",), "there is no such setting")
    while True:
        try:
            settings = ChatFile.model_validate(entries)
            break
        except ValidationError as error:
            firsts = {_droppable(found["loc"]): found for found in reversed(error.errors())}
            for found in firsts.values():
                leave_out(found["loc"], _reason(found["loc"], found["type"], found["msg"]))
    if settings.default_preset and settings.default_preset not in settings.presets:
        near = _nearest(settings.default_preset, settings.presets)
        leave_out(("default_preset",), f"no preset {settings.default_preset!r} is there{near}")
        settings = settings.model_copy(update={"default_preset": ""})
    return settings.model_copy(update={"problems": tuple(told for _, told in sorted(problems))})


_Place = tuple[str | int, ...]


def _droppable(loc: _Place) -> _Place:
    """A wrong preset or key is left out alone, any other entry whole."""
    return loc[:2] if loc[0] in ("presets", "keys") else loc[:1]


def _reason(loc: _Place, kind: str, words: str) -> str:
    if kind != "extra_forbidden":
        return words[:1].lower() + words[1:]
    known = (
        Preset.model_fields if len(loc) > 1 else {field.alias or name for name, field in ChatFile.model_fields.items()}
    )
    return f"there is no such setting{_nearest(str(loc[-1]), known)}"


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(name, set(known) - {"problems"}, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _line_of(loc: _Place, text: str) -> int:
    """The first line with which the entry is there: TOML readers keep no positions, but its beginnings are TOML."""
    lines = text.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:  # in the middle of a value of several lines
            continue
        for key in loc:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            return count
    return len(lines)


def save_settings(changes: Mapping[str, Any]) -> None:
    """Merge `changes`, named as in the file, into it: tables are merged, None removes, a Preset replaces its table.

    Raises UsageError when the file cannot be understood, which leaves it as it is, and OSError.
    """
    path = settings_path().resolve()  # the file may be a link into a folder that is kept elsewhere
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(
            f"Not saved: {path} cannot be understood: {error}.", hint="Mend it or move it away."
        ) from error
    _merge(document, changes)
    write_atomically(path, tomlkit.dumps(document))


def _merge(table: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            table.pop(name, None)
        elif isinstance(value, Preset):
            table[name] = value.model_dump(exclude_defaults=True)
        elif isinstance(value, Mapping):
            if not isinstance(table.get(name), MutableMapping):
                table[name] = tomlkit.table()
            _merge(table[name], value)
        else:
            table[name] = value
