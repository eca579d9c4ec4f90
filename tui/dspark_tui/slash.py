"""Slash commands as text: what in the box is one, which one is meant. Pure functions over the list of actions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from textual.fuzzy import FuzzySearch

from dspark_tui.actions import ACTIONS, Action

_COMMAND = re.compile(r"/([a-z?][\w-]*)(?:[ \t]+(.*))?\s*", re.IGNORECASE)
_ALIASES = {"clear": "new", "exit": "quit", "q": "quit", "?": "help", "retry": "again", "regenerate": "again"}
"""What people bring along from other programs; taken, but not listed."""


def parse(text: str) -> tuple[str, str] | None:
    """The command's name and what follows it. None for text, such as a path or anything of several lines."""
    found = _COMMAND.fullmatch(text)
    return (found[1].lower(), (found[2] or "").strip()) if found else None


def plain(text: str) -> str:
    """What is sent: two strokes at the beginning are one."""
    return text[1:] if text.startswith("//") else text


def escaped(text: str) -> str:
    """How a prompt is written in the box, so that it is sent as it is."""
    return f"/{text}" if parse(text) or text.startswith("//") else text


def find(name: str, actions: Iterable[Action] = ACTIONS) -> Action | None:
    """The action of a command."""
    name = _ALIASES.get(name, name)
    return next((action for action in actions if action.slash and action.slash == name), None)


def unknown(name: str, actions: Iterable[Action] = ACTIONS) -> str:
    """What to say when there is no such command."""
    near = get_close_matches(name, [action.slash for action in actions if action.slash], 1, cutoff=0.5)
    meant = f"Did you mean /{near[0]}?" if near else "/help lists them."
    return f"There is no command /{name}. {meant} A message that begins with a stroke is written //{name}."


def matching(typed: str, actions: Iterable[Action] = ACTIONS) -> list[Action]:
    """Commands that fit what is typed after the stroke, the best first; those that begin with it before all."""
    named = sorted((action for action in actions if action.slash), key=lambda action: action.slash)
    if not typed:
        return named
    search, scores = FuzzySearch(), dict[str, float]()
    for action in named:
        scores[action.slash] = (1000.0 if action.slash.startswith(typed) else 0.0) + search.match(typed, action.slash)[
            0
        ]
    fitting = [action for action in named if scores[action.slash]]
    return sorted(fitting, key=lambda action: -scores[action.slash])


def usage(action: Action) -> str:
    """Like `/rename TITLE`."""
    return f"/{action.slash} {action.argument}".rstrip()


def needs_argument(action: Action) -> bool:
    """Whether it says nothing alone."""
    return bool(action.argument) and not action.argument.startswith("[")
