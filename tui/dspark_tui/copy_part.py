"""The part of the chat that copies: the answer, a block that is chosen, the last code, to clipboard or file."""

from __future__ import annotations

from pathlib import Path

from textual import work

from dspark_tui import clipboard
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.blocks import last_code
from dspark_tui.blocks_cursor import BlockCursor
from dspark_tui.widgets.chat_markdown import ChatFence

_LONG_HINT_SECONDS = 6.0


class CopyPart(AskingScreen):
    """Everything that is copied is copied as it was written."""

    @work(group="copy")
    async def copy(self, text: str) -> None:
        """Copy `text` and say what came of it."""
        self.hint(await clipboard.copy(self.app, text), _LONG_HINT_SECONDS)

    def action_copy_answer(self) -> None:
        """Copy the newest answer."""
        if answer := self.conversation.last_answer:
            self.copy(answer)
        else:
            self.hint("There is no answer to copy yet.")

    def slash_copy(self, argument: str) -> None:
        """`/copy` copies the newest answer, `/copy file` or `/copy PATH` writes it."""
        if not argument:
            self.action_copy_answer()
        elif not (answer := self.conversation.last_answer):
            self.hint("There is no answer to write yet.")
        else:
            self._write_answer(answer, Path("answer.md") if argument == "file" else Path(argument).expanduser())

    def _write_answer(self, answer: str, path: Path) -> None:
        """Never over a file that is there."""
        for number in range(1, 1000):
            numbered = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            try:
                with open(numbered, "x", encoding="utf-8") as file:
                    file.write(answer)
            except FileExistsError:
                continue
            except OSError as error:
                self.hint(f"{numbered.absolute()} cannot be written: {error.strerror}.", _LONG_HINT_SECONDS)
                return
            self.hint(f"Written: {numbered.absolute()}", _LONG_HINT_SECONDS)
            return

    def action_copy_code(self) -> None:
        """Copy the last code block."""
        if (block := last_code(self.conversation.turns)) is not None:
            self.copy(block.text)
        else:
            self.hint("There is no code block to copy yet.")

    async def action_blocks(self) -> None:
        """Choose a message, code block or table to copy; a second time takes it."""
        if cursor := self.query(BlockCursor):
            cursor.first().action_take()
        elif any(turn.prompt or turn.answer for turn in self.conversation.turns):
            await self._above_box.mount(BlockCursor(self._messages))
        else:
            self.hint("There is nothing to copy yet.")

    async def on_block_cursor_taken(self, message: BlockCursor.Taken) -> None:
        """Copy it, and give the keys back to the box."""
        self.copy(message.block.text)
        await self.on_block_cursor_left()

    async def on_block_cursor_left(self) -> None:
        """Give the keys back to the box, unless they went elsewhere."""
        had_keys = isinstance(self.focused, BlockCursor)
        await self.query(BlockCursor).remove()
        if had_keys:
            self._composer.focus()

    def on_chat_fence_copied(self, message: ChatFence.Copied) -> None:
        """The corner of a fence was clicked."""
        self.copy(message.code)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a block is chosen Esc leaves it, and does not stop the answer."""
        if action == "stop" and isinstance(self.focused, BlockCursor):
            return False
        return super().check_action(action, parameters)
