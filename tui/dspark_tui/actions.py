"""Everything the chat can be told to do, each once: its key, its name in the palette, its slash command, its help.

Bindings, palette, slash commands and the help page are all made from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Group = Literal["Writing", "Answering", "Conversations", "Models", "Showing", "Program"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    id names it in the keymap; call is the Textual action, arguments included. keys are the default ones, separated by
    commas. title is what palette and help show; without one it is reached by its keys alone. slash is the command
    without its stroke; argument says what may follow it, in words, and then the screen's method slash_NAME(argument)
    is called instead of the action.
    """

    id: str
    call: str
    group: Group
    title: str = ""
    keys: str = ""
    slash: str = ""
    argument: str = ""


ACTIONS: tuple[Action, ...] = (
    Action("stop", "stop", "Answering", "Stop the answer; what has arrived stays", "escape"),
    Action("regenerate", "regenerate", "Answering", "Answer the last prompt again", "ctrl+r", "again"),
    Action("thinking", "toggle_thinking", "Answering", "Thinking on or off for the next answers", "ctrl+t", "think"),
    Action("copy_answer", "copy_answer", "Answering", "Copy the last answer", "ctrl+y", "copy"),
    Action("new", "new_conversation", "Conversations", "New conversation", "ctrl+n", "new"),
    Action("conversations", "conversations", "Conversations", "All conversations: search, open", "ctrl+o", "open"),
    Action("edit", "edit(-1)", "Conversations", "Edit an earlier prompt", "alt+up,f6", "edit"),
    Action("edit_next", "edit(1)", "Conversations", keys="alt+down"),
    Action("version_before", "version(-1)", "Conversations", "The version before", "alt+left,f7"),
    Action("version_after", "version(1)", "Conversations", "The version after", "alt+right,f8"),
    Action("page_up", "scroll_messages(-1)", "Showing", keys="pageup"),
    Action("page_down", "scroll_messages(1)", "Showing", keys="pagedown"),
    Action("example_1", "ask_example(0)", "Program", keys="f2"),
    Action("example_2", "ask_example(1)", "Program", keys="f3"),
    Action("example_3", "ask_example(2)", "Program", keys="f4"),
    Action("interrupt", "interrupt", "Program", keys="ctrl+c"),
    Action("help", "help", "Program", "All keys and commands", "f1", "help"),
)


def bindings(actions: Iterable[Action] = ACTIONS) -> list[Binding]:
    """Key bindings with their ids. They go before the focused widget's own, or the box would take Ctrl keys."""
    return [
        Binding(
            action.keys,
            action.call,
            action.title,
            show=False,
            priority=not action.id.startswith("example"),
            id=action.id,
        )
        for action in actions
        if action.keys
    ]
