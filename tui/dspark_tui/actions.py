"""Everything the chat can be told to do, each once: its key, its name in the palette, its slash command, its help.

Bindings, palette, slash commands and the help page are all made from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Group = Literal["Writing", "Answering", "Conversations", "Models", "Showing", "Program"]
Need = Literal["", "answer", "quiet", "turns"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    id names it in the keymap; call is the Textual action, arguments included. keys are the default ones, separated by
    commas. title is what palette and help show; without one it is reached by its keys alone. slash is the command
    without its stroke; argument says what follows it, in words and in brackets where it may be left out, and then the
    screen's method slash_NAME(argument) is called instead of the action. needs says when palette and suggestions offer
    it: while an answer runs, while none does, when something has been said and nothing runs.
    """

    id: str
    call: str
    group: Group
    title: str = ""
    keys: str = ""
    slash: str = ""
    argument: str = ""
    needs: Need = ""


ACTIONS: tuple[Action, ...] = (
    Action("stop", "stop", "Answering", "Stop the answer; what has arrived stays", "escape", needs="answer"),
    Action("regenerate", "regenerate", "Answering", "Answer the last prompt again", "ctrl+r", "again", needs="turns"),
    Action(
        "continue",
        "continue_answer",
        "Answering",
        "Go on with an answer that was cut off",
        "ctrl+g",
        "continue",
        needs="turns",
    ),
    Action("sampling", "sampling", "Answering", "System prompt, sampling, presets", "ctrl+s", "sampling"),
    Action("system", "sampling", "Answering", "System prompt of this conversation", "", "system", "[TEXT]"),
    Action("preset", "sampling", "Answering", "Ask as a preset says", "", "preset", "[NAME]"),
    Action("temp", "sampling", "Answering", "Temperature", "", "temp", "[0 TO 2]"),
    Action("top_p", "sampling", "Answering", "top_p", "", "top_p", "[0 TO 1]"),
    Action("top_k", "sampling", "Answering", "top_k", "", "top_k", "[NUMBER]"),
    Action("min_p", "sampling", "Answering", "min_p", "", "min_p", "[0 TO 1]"),
    Action("repetition", "sampling", "Answering", "Repetition penalty", "", "repetition", "[NUMBER]"),
    Action("max_tokens", "sampling", "Answering", "Most tokens of an answer", "", "max_tokens", "[NUMBER]"),
    Action("seed", "sampling", "Answering", "Seed of the random choices", "", "seed", "[NUMBER]"),
    Action("effort", "sampling", "Answering", "How much it thinks", "", "effort", "[high OR max]"),
    Action("file", "attach_file", "Writing", "Attach a text file; or write @PATH", "", "file", "PATH"),
    Action("complete_path", "complete_path", "Writing", keys="tab"),
    Action("clear_queue", "clear_queue", "Writing", "Remove every queued prompt", "", "unqueue"),
    Action("thinking", "toggle_thinking", "Answering", "Thinking on or off for the next answers", "ctrl+t", "think"),
    Action("copy_answer", "copy_answer", "Answering", "Copy the last answer", "ctrl+y", "copy", "[file OR PATH]"),
    Action("blocks", "blocks", "Showing", "Choose a message, code block or table to copy", "ctrl+k", "blocks"),
    Action("copy_code", "copy_code", "Showing", "Copy the last code block", "", "code"),
    Action("editor", "editor", "Writing", "Write the prompt in your editor", "ctrl+e", "editor"),
    Action("new", "new_conversation", "Conversations", "New conversation", "ctrl+n", "new", needs="quiet"),
    Action(
        "conversations",
        "conversations",
        "Conversations",
        "All conversations: search, open",
        "ctrl+o",
        "open",
        needs="quiet",
    ),
    Action("edit", "edit(-1)", "Conversations", "Edit an earlier prompt", "alt+up,f6", "edit", needs="turns"),
    Action("edit_next", "edit(1)", "Conversations", keys="alt+down"),
    Action("version_before", "version(-1)", "Conversations", "The version before", "alt+left,f7", needs="turns"),
    Action("version_after", "version(1)", "Conversations", "The version after", "alt+right,f8", needs="turns"),
    Action("rename", "begin_command('rename')", "Conversations", "Rename this conversation", "", "rename", "TITLE"),
    Action("export", "export", "Conversations", "Export this conversation to .md or .json", "", "export", "[PATH]"),
    Action(
        "import", "begin_command('import')", "Conversations", "Import conversations from a file", "", "import", "PATH"
    ),
    Action("models", "models", "Models", "Models: switch, download, check, delete", "f5", "models"),
    Action("model", "models", "Models", "Switch to a model by name", slash="model", argument="NAME or PATH"),
    Action("pull", "models", "Models", "Download a model", slash="pull", argument="NAME or OWNER/NAME"),
    Action("engine_panel", "engine_panel", "Showing", "The engine: token sources, acceptance, memory", "f9", "engine"),
    Action("page_up", "scroll_messages(-1)", "Showing", keys="pageup"),
    Action("page_down", "scroll_messages(1)", "Showing", keys="pagedown"),
    Action("theme", "app.change_theme", "Showing", "Theme: choose colours, with a preview", "", "theme", "[NAME]"),
    Action("example_1", "ask_example(0)", "Program", keys="f2"),
    Action("example_2", "ask_example(1)", "Program", keys="f3"),
    Action("example_3", "ask_example(2)", "Program", keys="f4"),
    Action("interrupt", "interrupt", "Program", keys="ctrl+c"),
    Action("palette", "app.command_palette", "Program", "Command palette: find anything by its name", "ctrl+p"),
    Action("settings", "settings", "Program", "Settings: open chat.toml in your editor", "", "settings"),
    Action("help", "help", "Program", "All keys and commands", "f1", "help"),
    Action("quit", "app.quit", "Program", "Quit", "ctrl+q", "quit"),
)


def bindings(actions: Iterable[Action] = ACTIONS, *, of_app: bool = False) -> list[Binding]:
    """Key bindings with their ids, of the screen or of the app. They go before the focused widget's own, or the box
    would take Ctrl keys.
    """
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
        if action.keys and action.call.startswith("app.") == of_app
    ]
