"""Things gone wrong, said in place: an error beside the prompt it belongs to, and an engine that has gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from dspark_tui.recovery import Offer


class ErrorNotice(Static):
    """One error, in the list where it happened."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class UnsavedNotice(ErrorNotice):
    """The disk refuses the conversation; it goes when the disk takes it again."""


class EngineNotice(Static, can_focus=True):
    """The engine is not there, or short of memory. r or Enter starts it again, other keys as offered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r,enter", "restart", "Start the engine again", show=False),
        Binding("s", "choose('s')", "Start with less", show=False),
        Binding("d", "choose('d')", "Start the demo", show=False),
    ]

    class Restart(Message):
        """The person wants it back."""

    @dataclass
    class Chosen(Message):
        """The person wants it another way."""

        offer: Offer

    def __init__(self, text: str, offers: Sequence[Offer] = (), *, is_ours: bool = True) -> None:
        self._offers = {offer.key: offer for offer in offers}
        again = "start it again" if is_ours else "try to reach it again"
        keys = "\n".join([f"  r  {again}", *(f"  {offer.key}  {offer.words}" for offer in offers)])
        super().__init__(f"{text}\n\nEverything said so far is kept. Press\n{keys}", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is not offered is no key here: it goes to the box as a letter."""
        return action != "choose" or parameters[0] in self._offers

    def action_restart(self) -> None:
        """Ask for it."""
        self.post_message(self.Restart())

    def action_choose(self, key: str) -> None:
        """Ask for what was offered under this key."""
        self.post_message(self.Chosen(self._offers[key]))

    def on_click(self, event: events.Click) -> None:
        """Choose the way that was clicked; they are the last lines."""
        ways = ["r", *self._offers]
        at = event.y - (self.content_size.height - len(ways))
        if at == 0:
            self.action_restart()
        elif 0 < at < len(ways):
            self.action_choose(ways[at])
