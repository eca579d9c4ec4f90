"""The list of turns. Only the end of a long conversation is mounted; the rest comes as it is scrolled to.

Notices stand between the turns and are not the list's to remove.
"""

from __future__ import annotations

import asyncio

from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.layout import DockArrangeResult

from dspark_tui.conversation import Conversation, Turn
from dspark_tui.widgets.turn_view import TurnView

PAGE_TURNS = 8
_MAX_MOUNTED = 64
_EXTEND_SECONDS = 0.15


class MessageList(VerticalScroll, can_focus=False):
    """Shows the visible path of a conversation: call show() whenever the path has changed."""

    def __init__(self) -> None:
        super().__init__(id="messages")
        self._conversation = Conversation()
        self._path: list[Turn] = []
        self._views: list[TurnView] = []  # of the end of _path
        self._changing = asyncio.Lock()
        self._is_settling = False
        self._held: tuple[TurnView, int] | None = None

    @property
    def first(self) -> int:
        """The position in the path of the first turn that is mounted."""
        return len(self._path) - len(self._views)

    async def show(self, conversation: Conversation) -> None:
        """Make the list what the path is, touching only what differs, and go to its end."""
        async with self._changing:
            await self._show(conversation, list(conversation.turns))
        self.anchor()
        self.set_timer(_EXTEND_SECONDS, self._extend)  # what is seen first is drawn first

    async def _show(self, conversation: Conversation, path: list[Turn]) -> None:
        same = self._count_same(path) if conversation is self._conversation else 0
        gone, kept = self._views[same:], self._views[:same]
        missing = path[self.first + same :] if same else path[len(path) - self._turns_that_fill(path) :]
        self._conversation, self._path = conversation, path
        if self._conversation.has_several_models:
            for view in kept:
                if not view.names_model:
                    view.name_model()
        views = [self._view(turn) for turn in missing]
        self._views = kept + views
        if gone:
            await self.remove_children(gone)
        if views and kept:
            await self._mount(views, after=kept[-1])
        else:
            await self._mount(views)
        surplus = len(self._views) - _MAX_MOUNTED
        if surplus > 0 and self.is_vertical_scroll_end:
            gone, self._views = self._views[: surplus + PAGE_TURNS], self._views[surplus + PAGE_TURNS :]
            await self.remove_children(gone)

    async def _mount(self, views: list[TurnView], after: TurnView | None = None) -> None:
        if views:
            with self.app.batch_update():
                await self.mount(*views, after=after, before=0 if after is None and self.children else None)
                await asyncio.gather(*(view.fill() for view in views))

    def _count_same(self, path: list[Turn]) -> int:
        """How many of the mounted turns may stay; none when it is a long way from them to the end."""
        ahead = path[self.first :]
        same = 0
        while same < min(len(self._views), len(ahead)) and ahead[same] is self._views[same].turn:
            same += 1
        return same if len(ahead) - same <= _MAX_MOUNTED else 0

    def _turns_that_fill(self, turns: list[Turn]) -> int:
        """How many turns from the end take about one screen, so that opening draws what is seen and no more."""
        width, rows = max(min(self.size.width, 100) - 6, 20), 0
        for number, turn in enumerate(reversed(turns), 1):
            for line in f"{turn.prompt}\n{turn.answer}".splitlines():
                rows += 1 + len(line) // width
            if rows + 3 * number >= self.size.height:
                return number
        return len(turns)

    def view_of(self, turn: Turn) -> TurnView | None:
        """The turn's widget, while it is mounted."""
        return next((view for view in self._views if view.turn is turn), None)

    def _view(self, turn: Turn) -> TurnView:
        versions = self._conversation.versions(turn)
        number = next(at for at, one in enumerate(versions, 1) if one is turn)
        return TurnView(turn, number, len(versions), names_model=self._conversation.has_several_models)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Near the top more is fetched."""
        super().watch_scroll_y(old_value, new_value)
        self.call_later(self._extend)

    async def _extend(self) -> None:
        """Mount a page more above while the top is near."""
        # It never waits for the lock: show(), which holds it, waits for this widget, and extends in the end.
        is_near = self.is_attached and self.scroll_y <= self.size.height and self.first > 0
        if not is_near or self._is_settling or self._changing.locked():
            return
        async with self._changing:
            self._is_settling = True
            await self.stop_animation("scroll_y", complete=True)
            if self._views and not self.is_vertical_scroll_end:  # the end holds itself
                self._held = self._views[0], self._views[0].virtual_region.y - self.scroll_offset.y
            views = [self._view(turn) for turn in self._path[max(self.first - PAGE_TURNS, 0) : self.first]]
            self._views[:0] = views
            await self._mount(views)
        self.call_after_refresh(self._settle, views)

    def _settle(self, views: list[TurnView]) -> None:
        if self.is_attached and not all(view.outer_size.height for view in views):
            self.call_after_refresh(self._settle, views)  # that refresh came before their layout
            return
        self._held = None
        self._is_settling = False
        self.vertical_scrollbar.position = self.scroll_y
        self.call_after_refresh(self._extend)

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Where the turns are; the one that is held stays where it is on screen, in this very layout."""
        arranged = super().arrange(size, optimal)
        if self._held is not None:
            view, offset = self._held
            for placement in arranged.placements:
                if placement.widget is view:
                    self.set_reactive(MessageList.scroll_y, float(placement.region.y - offset))
                    self.set_reactive(MessageList.scroll_target_y, float(placement.region.y - offset))
        return arranged
