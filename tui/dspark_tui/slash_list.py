"""The commands that fit what is typed after a stroke, over the box."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from dspark_tui.actions import Action
from dspark_tui.slash import find, matching, needs_argument, usage
from dspark_tui.widgets.composer import Composer

_USAGE_COLUMNS = 24


class SlashList(OptionList):
    """Shown while a command's name is being typed. The box keeps the focus and hands its keys on."""

    DEFAULT_CSS = """
    SlashList { height: auto; max-height: 7; background: $surface; }
    """

    def __init__(self, composer: Composer, may_offer: Callable[[Action], bool]) -> None:
        super().__init__(compact=True, markup=False)
        self.can_focus = False
        self.display = False
        self._composer = composer
        self._may_offer = may_offer
        self._closed_at = ""
        composer.key_takers.append(self.take_key)

    @property
    def is_open(self) -> bool:
        """Whether it takes keys."""
        return bool(self.display)

    def suggest(self, text: str) -> None:
        """Show what fits the text of the box."""
        is_name = text.startswith("/") and not any(character.isspace() for character in text)
        fitting: list[Action] = []
        if is_name and self._composer.takes_commands and text != self._closed_at:
            fitting = [action for action in matching(text[1:].lower()) if self._may_offer(action)]
        self._closed_at = self._closed_at if text == self._closed_at else ""
        self.clear_options()
        self.add_options(Option(_row(action), id=action.slash) for action in fitting)
        self.display = bool(fitting)
        if fitting:
            self.highlighted = 0

    def take_key(self, key: str) -> bool:
        """Do what the key means for an open list; False when it means nothing here."""
        if not self.is_open:
            return False
        match key:
            case "up":
                self.action_cursor_up()
            case "down":
                self.action_cursor_down()
            case "tab":
                self._complete(obey=False)
            case "enter":
                self._complete(obey=True)
            case "escape":
                self._closed_at = self._composer.text
                self.display = False
            case _:
                return False
        return True

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click does what Enter does."""
        event.stop()
        self._complete(obey=True)
        self._composer.focus()

    def _complete(self, *, obey: bool) -> None:
        at = self.highlighted
        action = find(str(self.get_option_at_index(at).id)) if at is not None else None
        if action is None:
            return
        if obey and not needs_argument(action):
            self._composer.write(f"/{action.slash}")
            self._composer.post_message(Composer.Commanded(action.slash, ""))
        else:
            self._composer.write(f"/{action.slash} " if action.argument else f"/{action.slash}")
        self.display = False


def _row(action: Action) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(width=_USAGE_COLUMNS, no_wrap=True)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    row.add_row(usage(action), action.title)
    return row
