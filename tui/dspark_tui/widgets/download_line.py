"""The line above the box while something is downloaded, and what came of it."""

from __future__ import annotations

from textual.message import Message
from textual.widgets import Static

from dspark_tui.downloads_state import DownloadState

_BAR = 12


class DownloadLine(Static):
    """One download; a click opens the models."""

    DEFAULT_CSS = """
    DownloadLine { height: auto; max-height: 3; padding: 0 2; color: $text-muted; }
    DownloadLine.-done { color: $text-success; }
    DownloadLine.-failed { color: $text-error; max-height: 5; }
    """

    class Opened(Message):
        """The person wants to see the models."""

    def __init__(self, state: DownloadState) -> None:
        super().__init__(markup=False)
        self.state = state

    def show(self, waiting: int, width: int) -> None:
        """Bring it up to date; `waiting` are those behind it in the queue."""
        self.set_class(self.state.stage == "done", "-done")
        self.set_class(self.state.stage == "failed", "-failed")
        self.update(download_line(self.state, waiting, width))

    def on_click(self) -> None:
        """Open the models."""
        self.post_message(self.Opened())


def download_line(state: DownloadState, waiting: int, width: int) -> str:
    """As `qwen3-4b ███░░░ 12.3 GB of 166.9 GB, 7 %, 52.1 MB/s, 49:12 left`."""
    if state.stage == "done":
        return f"{state.name} is here and checked. F5, Enter: use it."
    if state.stage == "failed":
        return f"{state.name} failed; F5, p tries again. {state.line()}"
    if state.stage == "paused":
        return f"{state.name}: {state.line()}. F5, p: continue."
    text = state.line() + (f" (+{waiting} waiting)" if waiting else "")
    bar = ""
    if state.total and len(state.name) + len(text) + _BAR + 2 <= width:
        filled = int(_BAR * state.share)
        bar = f"{'█' * filled}{'░' * (_BAR - filled)} "
    return f"{state.name} {bar}{text}"
