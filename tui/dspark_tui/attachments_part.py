"""The part of the chat that attaches text files: by /file, by @path, by dragging one into the terminal."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from textual import on, work
from textual.widgets import TextArea

from dspark_local.errors import DsparkError, UsageError
from dspark_tui.attachments import (
    Attachment,
    common_beginning,
    completions,
    dropped_path,
    mentioned_paths,
    read_attachment,
)
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Turn
from dspark_tui.conversations_part import ConversationsPart
from dspark_tui.engine_link import EngineLink
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.attachment_chips import AttachmentChip, AttachmentChips, does_not_fit
from dspark_tui.widgets.composer import Composer

_LONG_HINT_SECONDS = 6.0
_SHOWN_COMPLETIONS = 8


class AttachmentsPart(ConversationsPart):
    """`files` go with what is in the box: with the next prompt, or with the message that is being edited."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self.files: list[Attachment] = []
        self._draft_files: list[Attachment] = []
        self._files_of: Turn | None = None
        self._tokens: dict[Attachment, int | None] = {}
        self._chips = AttachmentChips()
        self._length = 0

    async def on_mount(self) -> None:
        """Take the place above the box."""
        await self._above_box.mount(self._chips)

    # ---- sending

    async def submit(self) -> None:
        """Send what is in the box with its files, as a new prompt or as a version of the one being edited."""
        if (files := self.files_to_send()) is None:
            return
        edited, prompt = self._editing.take()
        self._follow_editing()
        if edited is None:
            self.files = []
        if edited is not None and edited in self.conversation.turns:
            turn = self.conversation.edit(edited, prompt, files)
        else:
            turn = self.conversation.begin(prompt, files)
        await self.answer_turn(turn)
        await self._show_chips()

    def files_to_send(self) -> tuple[Attachment, ...] | None:
        """The attached files and those that the prompt mentions; None after saying why they cannot go."""
        self._follow_editing()
        files = list(self.files)
        for mention in mentioned_paths(self._composer.text):
            path = Path(mention).expanduser()
            if not path.is_file():  # it may be a name, a decorator, a folder: it goes as it is written
                if "/" in mention or mimetypes.guess_type(mention)[0]:
                    # Later, because the beginning of an answer takes hints away.
                    self.call_later(
                        self.hint, f"@{mention} is no file here; it is sent as written.", _LONG_HINT_SECONDS
                    )
                continue
            try:
                one = read_attachment(path)
            except UsageError as error:
                self.hint(str(error), _LONG_HINT_SECONDS)
                return None
            if one not in files:
                files.append(one)
        length = self.info.context_length if self.info is not None else 0
        count = sum(self._tokens.get(one) or one.estimated_tokens for one in files)
        if does_not_fit(count, length):
            about = "" if all(self._tokens.get(one) for one in files) else "about "
            self.hint(
                f"Not sent: the files have {about}{count:,} tokens, the context is {length:,}. Remove some, or "
                "attach the part that matters.",
                _LONG_HINT_SECONDS,
            )
            return None
        return tuple(files)

    def give_back(self, turn: Turn) -> None:
        """The files come back with the prompt."""
        super().give_back(turn)
        self.files = [*turn.attachments, *(one for one in self.files if one not in turn.attachments)]
        self.call_later(self._show_chips)

    def _follow_editing(self) -> None:
        """Show the files of the message in the box; those of the draft wait meanwhile."""
        turn = self._editing.turn
        if turn is self._files_of:
            return
        if self._files_of is None:
            self._draft_files = self.files
        self.files = list(turn.attachments) if turn is not None else self._draft_files
        self._files_of = turn

    # ---- attaching

    def action_attach_file(self) -> None:
        """Begin the mention of a file in the box."""
        at_start = not self._composer.text or self._composer.text[-1].isspace()
        self._composer.focus()
        self._composer.insert("@" if at_start else " @")
        self.hint("A path after the @ attaches that file; Tab completes it.", _LONG_HINT_SECONDS)

    async def slash_file(self, argument: str) -> None:
        """Attach the file at this path."""
        path = argument.strip().strip("'\"")
        if path:
            await self.attach(Path(path))
        else:
            self.hint("/file needs a path; or write @path into the prompt, Tab completes it.", _LONG_HINT_SECONDS)

    async def attach(self, path: Path) -> None:
        """Attach a file to what is in the box; what cannot be attached is told."""
        self._follow_editing()
        try:
            one = read_attachment(path)
        except UsageError as error:
            self.hint(str(error), _LONG_HINT_SECONDS)
            return
        if one in self.files:
            self.hint(f"{one.name} is attached already.")
            return
        self.files.append(one)
        await self._show_chips()

    async def on_attachment_chip_removed(self, message: AttachmentChip.Removed) -> None:
        """Take a file away."""
        self.files = [one for one in self.files if one is not message.attachment]
        self._composer.focus()
        await self._show_chips()

    @on(TextArea.Changed)
    async def _notice_dropped_file(self, event: TextArea.Changed) -> None:
        """A terminal pastes the path of a file that is dragged into it."""
        box = self._composer
        if event.text_area is not box:
            return
        grown, self._length = len(box.text) - self._length, len(box.text)
        if not 2 < grown < 4096 or self._editing_has_just_written():
            return
        end = box.document.get_index_from_location(box.cursor_location)  # type: ignore[attr-defined]
        pasted = box.text[max(end - grown, 0) : end]
        if (path := dropped_path(pasted)) is not None:
            start = box.document.get_location_from_index(max(end - grown, 0))  # type: ignore[attr-defined]
            box.delete(start, box.cursor_location)
            await self.attach(path)

    def _editing_has_just_written(self) -> bool:
        return self._editing.turn is not None and self._composer.text == self._editing.turn.prompt

    # ---- completing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tab completes a path only where one is being written; elsewhere it goes where it always goes."""
        if action == "complete_path":
            return self._fragment() is not None
        return super().check_action(action, parameters)

    def _fragment(self) -> str | None:
        """The path after the @ of the word that ends at the cursor."""
        if not isinstance(self.focused, Composer):
            return None
        row, column = self._composer.cursor_location
        before = self._composer.document.get_line(row)[:column]
        if (at := before.rfind('@"')) >= 0 and '"' not in before[at + 2 :]:
            return before[at + 2 :]
        word = before[max(before.rfind(" "), before.rfind("\t")) + 1 :]
        return word[1:] if word.startswith("@") else None

    def action_complete_path(self) -> None:
        """Complete the path as far as it is clear, and say what may follow."""
        fragment = self._fragment()
        if fragment is None:
            return
        found = completions(fragment)
        if not found:
            self.hint(f"No file begins with {fragment}.")
            return
        common = common_beginning(found)
        if len(common) > len(fragment):
            self._replace_fragment(fragment, common, is_whole=len(found) == 1 and not common.endswith("/"))
        if len(found) > 1:
            names = [name.rstrip("/").rpartition("/")[2] + ("/" if name.endswith("/") else "") for name in found]
            more = f" … {len(found) - _SHOWN_COMPLETIONS:,} more" if len(found) > _SHOWN_COMPLETIONS else ""
            self.hint("  ".join(names[:_SHOWN_COMPLETIONS]) + more, _LONG_HINT_SECONDS)

    def _replace_fragment(self, fragment: str, path: str, *, is_whole: bool) -> None:
        box = self._composer
        row, column = box.cursor_location
        start = column - len(fragment)
        is_quoted = box.document.get_line(row)[start - 1 : start] == '"'
        if " " in path and not is_quoted:
            path = f'"{path}'
        if is_whole:
            path += '" ' if is_quoted or path.startswith('"') else " "
        box.replace(path, (row, start), (row, column))

    # ---- showing

    def draw(self) -> None:
        """Chips follow what is being edited."""
        super().draw()
        if self.is_attached and self._editing.turn is not self._files_of:
            self._follow_editing()
            self.call_later(self._show_chips)

    async def _show_chips(self) -> None:
        if self._chips.is_attached:
            await self._chips.show(self.files, self._tokens, self.info.context_length if self.info is not None else 0)
            if any(one not in self._tokens for one in self.files) and self.info is not None:
                self._count(list(self.files))

    @work(exclusive=True, group="counting")
    async def _count(self, files: list[Attachment]) -> None:
        """Ask the engine how many tokens the files have."""
        for one in files:
            client = self._link.client
            if one in self._tokens or client is None:
                continue
            try:
                self._tokens[one] = await client.count_tokens(one.text)
            except DsparkError:
                return  # the estimate stands
        length = self.info.context_length if self.info is not None else 0
        if self._chips.is_attached:
            await self._chips.show(self.files, self._tokens, length)
