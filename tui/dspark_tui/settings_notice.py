"""What in chat.toml could not be followed, over the box until it has been seen."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widgets import Static

from dspark_tui.settings_file import settings_path


class SettingsNotice(Static):
    """Goes with the next answer, or by a click."""

    DEFAULT_CSS = """
    SettingsNotice { height: auto; max-height: 6; overflow-y: auto; padding: 0 2; color: $text-warning; }
    """

    def __init__(self, problems: Iterable[str]) -> None:
        path = str(settings_path())
        lines = [problem.removeprefix(f"{path}, ").replace(f"{path} is ", "It is ", 1) for problem in problems]
        super().__init__("\n".join([f"{path} (/settings opens it):", *lines]), markup=False)

    async def on_click(self) -> None:
        """It has been seen."""
        await self.remove()
