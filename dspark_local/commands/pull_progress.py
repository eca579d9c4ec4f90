"""What a pull looks like: bars in a terminal, a line now and then in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol

from dspark_local.commands.console import console, short_name
from dspark_local.commands.stdout import write_stdout
from dspark_local.hub.events import Event, FileDone, Notice, Planned, Progress
from dspark_local.sizes import format_bytes

LINE_SECONDS = 5.0
LINE_SHARE = 0.05
_SPEED_SECONDS = 10.0
_JSON_SECONDS = 0.5
_SHOWN_FILES = 6
_NAME_WIDTH = 27
_DETAIL_WIDTH = 39
"""Holds `165.9 GB of 166.9 GB 100.5 MB/s 1:02:03`, which leaves a short bar on a screen of 80 columns."""


class View(Protocol):
    """Shows events while it is entered."""

    def take(self, event: Event) -> None:
        """One event, from the thread that pulls."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(*, as_json: bool) -> View:
    """The view that fits: bars only where stderr is a terminal that can move its cursor."""
    if as_json:
        return JsonView()
    screen = console(sys.stderr)
    return BarView() if screen.is_terminal and not screen.is_dumb_terminal else LineView()


class Speed:
    """Bytes per second over the last ten seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def update(self, moved: int) -> float:
        """Tell how many bytes came so far; returns the speed, 0 before there are two points."""
        now = time.monotonic()
        self._points.append((now, moved))
        while len(self._points) > 2 and now - self._points[0][0] > _SPEED_SECONDS:
            self._points.popleft()
        first, before = self._points[0]
        return (moved - before) / (now - first) if now > first else 0.0


def remaining(progress: Progress, speed: float) -> str:
    """Time that the rest takes at this speed, as 1:02:03; -:-- when nothing moves."""
    left = progress.total - progress.done
    if speed <= 0 or left < 0:
        return "-:--"
    seconds = round(left / speed)
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


class _Plain:
    """A view that has nothing to set up or take down."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class JsonView(_Plain):
    """One object a line on stdout; progress twice a second and whenever it is complete."""

    def __init__(self) -> None:
        self._last = 0.0

    def take(self, event: Event) -> None:
        """Write the event."""
        if isinstance(event, Progress):
            now = time.monotonic()
            if now - self._last < _JSON_SECONDS and event.done != event.total:
                return
            self._last = now
        name = {"FileDone": "file"}.get(type(event).__name__, type(event).__name__.lower())
        write_stdout(json.dumps({"event": name, **asdict(event)}, ensure_ascii=False) + "\n")


class LineView(_Plain):
    """Plain lines on stderr: every few seconds, if 5 % or a new state makes them worth reading."""

    def __init__(self) -> None:
        self._last_time = time.monotonic()
        self._last_share = 0.0
        self._last_note = ""
        self._speed = Speed()

    def take(self, event: Event) -> None:
        """Print what is worth it."""
        if isinstance(event, Progress):
            self._progress(event)
        else:
            _say(sentence(event))

    def _progress(self, event: Progress) -> None:
        speed = self._speed.update(event.moved)
        share = event.done / event.total if event.total else 1.0
        note = next((f"{file.path}: {file.note}" for file in event.active if file.note), "")
        now = time.monotonic()
        waited = now - self._last_time
        is_news = share >= self._last_share + LINE_SHARE or note != self._last_note or waited >= 6 * LINE_SECONDS
        if waited < LINE_SECONDS or not is_news:
            return
        self._last_time, self._last_share, self._last_note = now, share, note
        line = f"{100 * share:3.0f} %  {format_bytes(event.done)} of {format_bytes(event.total)}"
        line += f"  {format_bytes(speed)}/s  {remaining(event, speed)} left"
        _say(f"{line}  {note}".rstrip())


class BarView:
    """rich bars on stderr: one for the whole, one for each file in work."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}", table_column=_column(_NAME_WIDTH)),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}", table_column=_column(_DETAIL_WIDTH)),
            console=console(sys.stderr),
            transient=True,
            expand=True,
        )
        self._speed = Speed()
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> BarView:
        self._bars.start()
        self._all = self._bars.add_task("all files", total=None, detail="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def take(self, event: Event) -> None:
        """Move the bars, or print a sentence above them."""
        if not isinstance(event, Progress):
            self._bars.console.print(sentence(event), markup=False)
            return
        speed = self._speed.update(event.moved)
        amount = f"{format_bytes(event.done)} of {format_bytes(event.total)}"
        detail = f"{amount} {format_bytes(speed)}/s {remaining(event, speed)}"
        self._bars.update(self._all, completed=event.done, total=event.total, detail=detail)
        shown = event.active[:_SHOWN_FILES]
        for path in set(self._tasks) - {file.path for file in shown}:
            self._bars.remove_task(self._tasks.pop(path))
        for file in shown:
            if file.path not in self._tasks:
                self._tasks[file.path] = self._bars.add_task(
                    short_name(file.path, _NAME_WIDTH), total=file.size, detail=""
                )
            task = self._tasks[file.path]
            self._bars.update(task, completed=file.done, total=file.size, detail=file.note or format_bytes(file.size))


def sentence(event: Planned | FileDone | Notice) -> str:
    """An event other than progress, in words."""
    if isinstance(event, Planned):
        text = f"{event.repo} @ {event.commit[:12]}: {event.files} files, {format_bytes(event.total_bytes)}"
        return f"{text}, {format_bytes(event.present_bytes)} of it here" if event.present_bytes else text
    if isinstance(event, FileDone):
        return f"{event.path}  {format_bytes(event.size)}  verified"
    return event.text


def _column(width: int) -> Any:
    from rich.table import Column

    return Column(no_wrap=True, max_width=width, overflow="ellipsis")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
