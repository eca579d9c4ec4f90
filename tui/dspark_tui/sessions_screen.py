"""The list of conversations: search, open, rename, delete, export, import. One list, keyboard and mouse."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from dspark_local.errors import DsparkError
from dspark_tui.export import export, export_path
from dspark_tui.importing import read_conversations
from dspark_tui.store import ConversationStore
from dspark_tui.store_search import Found, Summary, search
from dspark_tui.widgets.line_dialog import LineDialog
from dspark_tui.widgets.summary_line import summary_text

_SEARCH_DELAY_SECONDS = 0.1


class SessionsScreen(Screen[str | None]):
    """Gives the id of the conversation to open, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", key_display="Enter", priority=True),
        Binding("f2", "rename", "Rename", key_display="F2", priority=True),
        Binding("f5", "export", "Export", key_display="F5", priority=True),
        Binding("f6", "import_file", "Import", key_display="F6", priority=True),
        Binding("f8", "delete", "Delete", key_display="F8", priority=True),
        Binding("ctrl+d", "delete", show=False, priority=True),
        Binding("ctrl+z", "undo", "Undo", key_display="Ctrl+Z", priority=True),
        Binding("escape", "back", "Back", key_display="Esc", priority=True),
        Binding("ctrl+o", "back", show=False, priority=True),
        *(Binding(key, f"move('{key}')", show=False, priority=True) for key in ("up", "down", "pageup", "pagedown")),
    ]
    DEFAULT_CSS = """
    SessionsScreen > #said { height: 1; padding: 0 2; color: $text-muted; }
    SessionsScreen > #said.-wrong { color: $text-error; }
    SessionsScreen > Input { border: round $border-blurred; padding: 0 1; height: 3; background: $background; }
    SessionsScreen > Input:focus { border: round $border; }
    SessionsScreen > Footer { padding: 0 1; }
    SessionsScreen > OptionList { height: 1fr; background: $background; }
    """

    def __init__(self, store: ConversationStore) -> None:
        super().__init__()
        self._store = store
        self._found = Found((), 0)
        self._deleted: list[str] = []
        self._clicked_id: str | None = None
        self._timer: Timer | None = None
        self._search = Input(placeholder="Search titles and everything said")
        self._list = OptionList(compact=True, markup=False)
        self._list.can_focus = False
        self._said = Static(id="said", markup=False)

    def compose(self) -> ComposeResult:
        """Search, list, what happened, keys."""
        yield self._search
        yield self._list
        yield self._said
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """The list first shows everything."""
        self._search.border_title = "Conversations"
        self._search.focus()
        self.call_after_refresh(self.refresh_list)

    def on_resize(self, event: events.Resize) -> None:
        """Lines are made for a width."""
        self.call_after_refresh(self.refresh_list)

    # ---- the list

    @on(Input.Changed)
    def _search_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_SEARCH_DELAY_SECONDS, self.refresh_list)

    def refresh_list(self) -> None:
        """Search again and keep the place where it can be kept."""
        if not self.is_attached:
            return
        chosen, place = self.chosen, self._list.highlighted or 0
        query = self._search.value
        with self._telling():
            self._found = search(self._store, query)
        width, now = max(self._list.scrollable_content_region.width - 4, 20), time.time()
        words = query.split()
        self._list.clear_options()
        self._list.add_options(Option(summary_text(one, words, width, now), id=one.id) for one in self._found.summaries)
        if (count := len(self._found.summaries)) > 0:
            ids = [one.id for one in self._found.summaries]
            self._list.highlighted = ids.index(chosen.id) if chosen and chosen.id in ids else min(place, count - 1)
        self._search.border_subtitle = self._counted(query)

    def _counted(self, query: str) -> str:
        shown, total = len(self._found.summaries), self._found.total
        if shown < total:
            return f"the newest {shown:,} of {total:,}; type to narrow"
        if total:
            return f"{total:,} found" if query.split() else f"{total:,} in all"
        return "nothing has these words" if query.split() else "none yet"

    @property
    def chosen(self) -> Summary | None:
        """The highlighted conversation."""
        at = self._list.highlighted
        return self._found.summaries[at] if at is not None and at < len(self._found.summaries) else None

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Tell what happened, in the line above the keys."""
        self._said.set_class(wrong, "-wrong")
        self._said.update(text)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What the disk or a file refuses is said, and the list stays."""
        try:
            yield
        except (DsparkError, OSError, sqlite3.Error, ValueError) as error:
            self.say(str(error), wrong=True)
        except KeyError:
            self.say("This conversation is gone: another chat deleted it.", wrong=True)

    # ---- keys

    def action_move(self, key: str) -> None:
        """Move in the list while the search keeps the keys."""
        moves = {"up": self._list.action_cursor_up, "down": self._list.action_cursor_down}
        moves |= {"pageup": self._list.action_page_up, "pagedown": self._list.action_page_down}
        moves[key]()

    def action_back(self) -> None:
        """Back to the chat; a first Esc clears the search."""
        if self._search.value:
            self._search.value = ""
        else:
            self.dismiss(None)

    def action_open(self) -> None:
        """Open the highlighted conversation."""
        if self._timer is not None:  # what was typed last counts
            self._timer.stop()
            self._timer = None
            self.refresh_list()
        if (chosen := self.chosen) is not None:
            self.dismiss(chosen.id)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        if event.option_id == self._clicked_id:
            self.dismiss(event.option_id)
        self._clicked_id = event.option_id
        self.say("Click once more, or press Enter, to open it.")

    @work(exclusive=True, group="dialog")
    async def action_rename(self) -> None:
        """Ask for a title."""
        if (chosen := self.chosen) is None:
            return
        name = await self._ask("Title", chosen.title, "Empty brings the first words back.")
        if name is not None:
            with self._telling():
                self._store.rename(chosen.id, name)
                self.say("Renamed.")
            self.refresh_list()

    def action_delete(self) -> None:
        """Delete at once; it can be undone until the program ends."""
        if (chosen := self.chosen) is not None:
            with self._telling():
                self._store.delete(chosen.id)
                self._deleted.append(chosen.id)
                self.say(f"Deleted “{chosen.title}”. Ctrl+Z brings it back.")
            self.refresh_list()

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            self.say("Nothing to undo.")
            return
        with self._telling():
            self._store.restore(self._deleted[-1])
            self._deleted.pop()
            self.say("It is back.")
        self.refresh_list()

    @work(exclusive=True, group="dialog")
    async def action_export(self) -> None:
        """Ask where to, and write."""
        if (chosen := self.chosen) is None:
            return
        with self._telling():
            conversation = self._store.load(chosen.id)
            path = await self._ask(
                "Export to",
                str(export_path(Path.cwd(), conversation)),
                ".md is for reading; .json keeps every version.",
            )
            if path is not None:
                self.say(f"Written: {export(conversation, Path(path))}")

    @work(exclusive=True, group="dialog")
    async def action_import_file(self) -> None:
        """Ask for a file, and take in every conversation in it."""
        path = await self._ask(
            "Import from", "", "JSON of this program, of OpenAI-style messages, or exported from ChatGPT or ShareGPT."
        )
        if path is None or not path.strip():
            return
        with self._telling():
            read = read_conversations(Path(path.strip()).expanduser())
            for conversation in read.conversations:
                self._store.save(conversation)
            left_out = f" {read.left_out:,} messages or parts that are no text were left out." if read.left_out else ""
            count = len(read.conversations)
            self.say(f"Imported {count:,} {'conversation' if count == 1 else 'conversations'}.{left_out}")
        self._search.value = ""
        self.refresh_list()

    async def _ask(self, question: str, value: str, explanation: str) -> str | None:
        return await self.app.push_screen_wait(LineDialog(question, value, explanation))
