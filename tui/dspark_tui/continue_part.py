"""The part of the chat that goes on with an answer that was cut off, in its place."""

from __future__ import annotations

from dspark_tui.asking_screen import AskingScreen

_LONG_HINT_SECONDS = 6.0


class ContinuePart(AskingScreen):
    """Stopped, interrupted or cut at the limit of tokens: the rest is appended to the same turn."""

    async def action_continue_answer(self) -> None:
        """Go on with the last answer."""
        turns = self.conversation.turns
        if not self.may_ask():
            return
        if not turns or not turns[-1].is_cut_off:
            self.hint(
                "Nothing was cut off: the last answer ended by itself." if turns else "Nothing to go on with yet."
            )
            return
        turn = turns[-1]
        before, turn.state = turn.state, "answering"
        is_foreign = self.info is not None and self.info.device == "remote"
        await self.answer_turn(turn, before)
        if is_foreign:
            self.hint("Not every server can go on with an answer: this one may begin anew.", _LONG_HINT_SECONDS)
