"""The list of turns. Only the end of a long conversation is mounted; the rest comes as it is scrolled to.

Notices stand between the turns and are not the list's to remove.
"""

from __future__ import annotations

from textual.containers import VerticalScroll

from dspark_tui.conversation import Conversation, Turn
from dspark_tui.widgets.turn_view import TurnView

PAGE_TURNS = 8
_MAX_MOUNTED = 64


class MessageList(VerticalScroll, can_focus=False):
    """Shows the visible path of a conversation: call show() whenever the path has changed."""

    def __init__(self) -> None:
        super().__init__(id="messages")
        self._conversation = Conversation()
        self._views: list[TurnView] = []
        self._is_extending = False

    @property
    def first(self) -> int:
        """The position in the path of the first turn that is mounted."""
        return max(len(self._conversation.turns) - len(self._views), 0)

    async def show(self, conversation: Conversation) -> None:
        """Make the list what the path is, touching only what differs, and go to its end."""
        if conversation is not self._conversation:
            self._conversation = conversation
            await self._drop(0)
        turns = conversation.turns
        # Views are a run of the path from some place on: find it, and how far the two still agree.
        start = next((at for at, turn in enumerate(turns) if self._views and turn is self._views[0].turn), len(turns))
        same = 0
        while same < len(self._views) and turns[start + same : start + same + 1] == [self._views[same].turn]:
            same += 1
        if start + same < len(turns) - _MAX_MOUNTED:  # a long way from what is here to the end
            same = 0
        await self._drop(same)
        missing = turns[start + same :] if same else turns[-PAGE_TURNS:]
        if missing:
            views = [self._view(turn) for turn in missing]
            before = self._views[-1] if self._views else None
            self._views += views
            if before is None:
                await self.mount(*views, before=0 if self.children else None)
            else:
                await self.mount(*views, after=before)
        await self._forget_above()
        self.anchor()
        self.call_after_refresh(self._extend)

    async def _drop(self, position: int) -> None:
        gone, self._views = self._views[position:], self._views[:position]
        if gone:
            await self.remove_children(gone)

    async def _forget_above(self) -> None:
        surplus = len(self._views) - _MAX_MOUNTED
        if surplus > 0 and self.is_vertical_scroll_end:
            gone, self._views = self._views[: surplus + PAGE_TURNS], self._views[surplus + PAGE_TURNS :]
            await self.remove_children(gone)

    def view_of(self, turn: Turn) -> TurnView | None:
        """The turn's widget, while it is mounted."""
        return next((view for view in self._views if view.turn is turn), None)

    def _view(self, turn: Turn) -> TurnView:
        versions = self._conversation.versions(turn)
        return TurnView(turn, next(at for at, one in enumerate(versions, 1) if one is turn), len(versions))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Near the top more is fetched."""
        super().watch_scroll_y(old_value, new_value)
        self.call_later(self._extend)

    async def _extend(self) -> None:
        """Mount a page more above while the top is near; what is being read stays where it is."""
        if self._is_extending or not self.is_attached or self.scroll_y > self.size.height or self.first == 0:
            return
        self._is_extending = True
        followed = self.is_vertical_scroll_end
        first = self.first
        views = [self._view(turn) for turn in self._conversation.turns[max(first - PAGE_TURNS, 0) : first]]
        self._views[:0] = views
        await self.mount(*views, before=0)
        self.call_after_refresh(self._settle, views, followed)

    async def _settle(self, views: list[TurnView], followed: bool) -> None:
        if not followed:  # the end holds itself; anything else is held here, a scroll under way included
            target = self.scroll_target_y + sum(view.outer_size.height for view in views)
            await self.stop_animation("scroll_y", complete=False)
            self.scroll_to(y=target, animate=False, force=True, immediate=True)
        self._is_extending = False
        self.call_after_refresh(self._extend)
