"""The terminal's title: the model, and that an answer has ended while nobody looked."""

from __future__ import annotations

from rich.control import Control
from textual.worker import Worker, WorkerState

from dspark_tui.asking_screen import AskingScreen

_LOOK_SECONDS = 0.5
_PUSH, _POP = "\x1b[22;2t", "\x1b[23;2t"
_ENDED = (WorkerState.SUCCESS, WorkerState.ERROR)


class TitlePart(AskingScreen):
    """Rings only when chat.toml says so, and only while the terminal says that it is in the background."""

    _title = ""
    _ended_unseen = False

    async def on_mount(self) -> None:
        """The title that was there comes back at the end."""
        self._to_terminal(_PUSH)
        self.set_interval(_LOOK_SECONDS, self._retitle)

    async def on_unmount(self) -> None:
        """Give the terminal its own title back."""
        self._to_terminal(_POP)

    async def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """An answer that ends in the background is told of."""
        if event.worker.group == "answer" and event.state in _ENDED and not self.app.app_focus:
            self._ended_unseen = True
            self._retitle()
            if self._settings.file.notify:
                self.app.bell()

    def _retitle(self) -> None:
        self._ended_unseen = self._ended_unseen and not self.app.app_focus
        title = terminal_title(self.info.id if self.info is not None else "", ended=self._ended_unseen)
        if title != self._title:
            self._title = title
            self._to_terminal(Control.title(title).segment.text)

    def _to_terminal(self, sequence: str) -> None:
        # Textual has no public way to a terminal's title; its own clipboard and bell go through the driver like this.
        if (driver := self.app._driver) is not None:
            driver.write(sequence)


def terminal_title(model: str, *, ended: bool) -> str:
    """Like `✓ deepseek-v4-flash · dspark-chat`; what could end the sequence early is left out."""
    words = f"{'✓ ' if ended else ''}{model} · dspark-chat" if model else "dspark-chat"
    return "".join(character for character in words if character.isprintable())
