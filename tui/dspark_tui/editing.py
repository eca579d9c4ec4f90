"""Editing an earlier prompt in the box: which one, and what stood in the box before."""

from __future__ import annotations

from dspark_tui.conversation import Conversation, Turn
from dspark_tui.widgets.composer import Composer


class Editing:
    """`turn` is the one whose prompt is being edited, None when the box is for the next prompt."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._draft = ""
        self.turn: Turn | None = None

    def step(self, conversation: Conversation, step: int) -> bool:
        """To the own prompt before (-1), at first the last one, or after (1), from the last one back to the draft.

        False when there is none.
        """
        turns = conversation.turns
        at = turns.index(self.turn) if self.turn is not None and self.turn in turns else len(turns)
        if not 0 <= at + step <= len(turns):
            return False
        if at + step == len(turns):
            self.leave()
            return True
        if self.turn is None:
            self._draft = self._composer.text
        self.turn = turns[at + step]
        self._composer.border_title = f"Editing message {at + step + 1} of {len(turns)}"
        self._composer.border_subtitle = "Enter sends it as a new version, Esc leaves it"
        self._write(self.turn.prompt)
        return True

    def leave(self) -> None:
        """The box is for the next prompt again, with what stood in it before."""
        if self.turn is not None:
            self._end()
            self._write(self._draft)
            self._draft = ""

    def take(self) -> tuple[Turn | None, str]:
        """The turn that was edited, and the text to send; what stood in the box before is there again."""
        turn, text = self.turn, self._composer.take()
        if turn is not None:
            self.leave()
        return turn, text

    def _end(self) -> None:
        self.turn = None
        self._composer.border_title = self._composer.border_subtitle = ""

    def _write(self, text: str) -> None:
        self._composer.text = text
        self._composer.move_cursor(self._composer.document.end)
        self._composer.focus()
