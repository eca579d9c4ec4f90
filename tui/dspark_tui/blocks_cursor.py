"""The line above the box while a block is chosen: which one it is, and the keys."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from dspark_tui.blocks import Block, blocks_of
from dspark_tui.widgets.message_list import MessageList
from dspark_tui.widgets.messages import AssistantMessage
from dspark_tui.widgets.turn_view import TurnView


class BlockCursor(Static, can_focus=True):
    """Holds the keys while a block is chosen; it leaves when they go elsewhere."""

    DEFAULT_CSS = """
    BlockCursor { height: 1; padding: 0 2; color: $text-accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "The block above", show=False),
        Binding("down,j", "move(1)", "The block below", show=False),
        Binding("c,y,enter", "take", "Copy it", show=False),
        Binding("escape", "leave", "Leave", show=False),
    ]

    class Taken(Message):
        """The person wants this block copied."""

        def __init__(self, block: Block) -> None:
            super().__init__()
            self.block = block

    class Left(Message):
        """No block is chosen any more."""

    def __init__(self, messages: MessageList) -> None:
        super().__init__(markup=False)
        self._messages = messages
        self._marked: Widget | None = None
        self.block: Block | None = None

    def on_mount(self) -> None:
        """Begin at the last code block or table of the newest answer, else at the answer itself."""
        blocks = self._blocks()
        newest = [block for block in blocks if block.turn is blocks[-1].turn]
        parts = [block for block in newest if block.kind in ("code", "table")]
        self._choose((parts or newest)[-1])
        self.focus()

    def on_blur(self) -> None:
        """The keys went elsewhere."""
        self.action_leave()

    def on_unmount(self) -> None:
        """Leave no mark behind."""
        self._mark(None)

    def action_move(self, step: int) -> None:
        """Choose the neighbour; nothing happens at either end, except that earlier messages are fetched."""
        blocks = self._blocks()
        keys = [(id(block.turn), block.kind, block.at) for block in blocks]
        chosen = self.block
        assert chosen is not None
        at = keys.index((id(chosen.turn), chosen.kind, chosen.at)) + step
        if 0 <= at < len(blocks):
            self._choose(blocks[at])
        elif at < 0:
            self._messages.scroll_home(animate=False)

    def action_take(self) -> None:
        """Copy what is chosen."""
        assert self.block is not None
        self.post_message(self.Taken(self.block))

    def action_leave(self) -> None:
        """Choose nothing."""
        self.post_message(self.Left())

    def _blocks(self) -> list[Block]:
        return blocks_of(view.turn for view in self._messages.query(TurnView))

    def _choose(self, block: Block) -> None:
        self.block = block
        self.update(f"{block.label} · ↑↓ choose · c copies · Esc leaves")
        view = self._messages.view_of(block.turn)
        self._mark(_widget_of(view, block) if view is not None else None)

    def _mark(self, widget: Widget | None) -> None:
        if self._marked is not None:
            self._marked.remove_class("-chosen-block")
        self._marked = widget
        if widget is not None:
            widget.add_class("-chosen-block")
            widget.scroll_visible(animate=False, top=widget.size.height >= self._messages.size.height)


def _widget_of(view: TurnView, block: Block) -> Widget | None:
    kinds = {"prompt": "UserMessage", "code": "MarkdownFence", "table": "MarkdownTable"}
    if block.kind == "answer":
        return view.live if isinstance(view.live, AssistantMessage) else view.answer
    found = list(view.query(kinds[block.kind]))
    return found[block.at] if block.at < len(found) else None
