"""Which key does what once a person has had a say, and how keys are written for people. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from textual.keys import Keys, key_to_character

from dspark_tui.actions import ACTIONS, Action

_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
_WRITING = {"enter", "ctrl+j", "shift+enter", "space", "tab", "backspace", "delete", "up", "down", "left", "right"}
_NAMED_KEYS = {key.value for key in Keys}
_DISPLAYED = {"escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn", "delete": "Del"}


@dataclass(frozen=True, slots=True)
class Keymap:
    """The keys in force, by the id of their action; what could not be done about a wish is in `problems`."""

    keys: Mapping[str, tuple[str, ...]]
    changed: frozenset[str]
    problems: tuple[str, ...]

    def for_textual(self) -> dict[str, str]:
        """What App.set_keymap takes. It cannot take a key away, so that gets the name of one that no terminal sends."""
        return {id: ",".join(self.keys[id]) or f"no-key-of-{id}" for id in self.changed}

    def label(self, action_id: str) -> str:
        """Like `Alt+Up, F6`; empty without a key."""
        return ", ".join(displayed(key) for key in self.keys.get(action_id, ()))

    def first(self, action_id: str) -> str:
        """What a hint says: the first key, like `Alt+Up`, else the slash command, empty where there is neither."""
        if keys := self.keys.get(action_id, ()):
            return displayed(keys[0])
        return next((f"/{action.slash}" for action in ACTIONS if action.id == action_id and action.slash), "")


def keymap(wishes: Mapping[str, str], actions: Iterable[Action] = ACTIONS) -> Keymap:
    """The default keys with `wishes` (id to keys, separated by commas) over them.

    A wish takes its key from an action that has it by default; of two wishes for one key the first holds.
    """
    keys = {action.id: _split(action.keys) for action in actions}
    defaults, problems, taken = dict(keys), list[str](), dict[str, str]()
    for action_id, wish in wishes.items():
        if action_id not in keys:
            near = get_close_matches(action_id, keys, 1)
            problems.append(f"keys.{action_id}: there is no such action{f'; did you mean {near[0]}?' if near else '.'}")
            continue
        good = []
        for key in _split(wish):
            if reason := _refused(key):
                problems.append(f"keys.{action_id}: {reason}")
            elif key in taken:
                problems.append(f"keys.{action_id}: {displayed(key)} already stands at {taken[key]}.")
            else:
                taken[key] = action_id
                good.append(key)
        if good or not wish.strip():
            keys[action_id] = tuple(good)
    for action_id in defaults:
        lost = [key for key in keys[action_id] if taken.get(key, action_id) != action_id]
        if lost:
            keys[action_id] = tuple(key for key in keys[action_id] if key not in lost)
            left = ", ".join(map(displayed, keys[action_id])) or "no key"
            lost_keys = ", ".join(map(displayed, lost))
            problems.append(f"keys.{taken[lost[0]]} takes {lost_keys} from {action_id}, which is left with {left}.")
    changed = frozenset(action_id for action_id in keys if keys[action_id] != defaults[action_id])
    return Keymap(keys, changed, tuple(problems))


def displayed(key: str) -> str:
    """A key as people write it: `ctrl+pageup` is Ctrl+PgUp."""
    *modifiers, base = key.split("+")
    character = key_to_character(base)
    shown = _DISPLAYED.get(base) or (character.upper() if character and character.isprintable() else base.capitalize())
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])


def _split(keys: str) -> tuple[str, ...]:
    parts = (key.strip() for key in keys.split(","))
    return tuple(key.lower() if len(key) > 1 else key for key in parts if key)


def _refused(key: str) -> str:
    """Why it cannot be a key of an action; empty when it can."""
    *modifiers, base = key.split("+")
    character = key_to_character(base)
    if any(modifier not in _MODIFIERS for modifier in modifiers) or (base not in _NAMED_KEYS and character is None):
        return f"{key!r} is no key; keys are written like ctrl+b, alt+up, f9."
    if key in _WRITING or (not modifiers and character is not None and character.isprintable()):
        return f"{displayed(key)} is needed for writing."
    return ""
