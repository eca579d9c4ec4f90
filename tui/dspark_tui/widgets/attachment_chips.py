"""The files that go with the next prompt: a line each above the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from dspark_tui.attachments import Attachment, size_label

_REMOVE = "✕ "


class AttachmentChip(Static, can_focus=True):
    """One file; Delete, x, or a click on its cross takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("delete,backspace,x", "remove", "Remove", show=False)]

    @dataclass
    class Removed(Message):
        """The person does not want it to go along."""

        attachment: Attachment

    def __init__(self, attachment: Attachment) -> None:
        super().__init__(markup=False)
        self.attachment = attachment

    def show(self, tokens: int | None, context_length: int) -> None:
        """Say what it is, and what it takes of the context; tokens None while nobody has counted."""
        count = self.attachment.estimated_tokens if tokens is None else tokens
        self.set_class(does_not_fit(count, context_length), "-too-large")
        self.update(_REMOVE + chip_text(self.attachment, tokens, context_length))

    def on_click(self, event: events.Click) -> None:
        """The cross removes."""
        if event.x < len(_REMOVE):
            self.action_remove()

    def action_remove(self) -> None:
        """Ask for it."""
        self.post_message(self.Removed(self.attachment))


class AttachmentChips(Vertical):
    """Shows the files it is given."""

    DEFAULT_CSS = """
    AttachmentChips { height: auto; padding: 0 2; }
    AttachmentChip { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    AttachmentChip:focus { text-style: reverse; }
    AttachmentChip.-too-large { color: $text-error; }
    """

    async def show(self, files: list[Attachment], tokens: dict[Attachment, int | None], context_length: int) -> None:
        """One chip for each file, in order."""
        chips = list(self.query(AttachmentChip))
        if [chip.attachment for chip in chips] != files:
            await self.remove_children()
            chips = [AttachmentChip(one) for one in files]
            await self.mount_all(chips)
        self.display = bool(files)
        for chip in chips:
            chip.show(tokens.get(chip.attachment), context_length)


def does_not_fit(tokens: int, context_length: int) -> bool:
    """Whether so many tokens leave no room for an answer; context_length 0 is unknown."""
    return 0 < context_length <= tokens


def chip_text(attachment: Attachment, tokens: int | None, context_length: int) -> str:
    """Like `notes.txt · 12.0 kB · ~3,300 tokens · 5% of the context`; ~ marks an estimate."""
    count = attachment.estimated_tokens if tokens is None else tokens
    parts = [attachment.name, size_label(attachment.size), f"{'~' if tokens is None else ''}{count:,} tokens"]
    if does_not_fit(count, context_length):
        parts.append(f"does not fit into the context of {context_length:,}")
    elif context_length:
        share = count / context_length
        parts.append(f"{share:.0%} of the context" if share >= 0.01 else "under 1% of the context")
    return " · ".join(parts)
