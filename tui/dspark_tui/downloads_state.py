"""One download as the chat sees it: what the events of `dspark-local pull --json` have told so far."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from dspark_local.sizes import format_bytes

Stage = Literal["queued", "starting", "running", "pausing", "paused", "failed", "done"]
ENDED: tuple[Stage, ...] = ("paused", "failed", "done")
_SPEED_SECONDS = 10.0
_QUIET_SECONDS = 4.0


@dataclass(slots=True)
class DownloadState:
    """done and total are bytes, done never falls; problem is what ended it, code what machines call that."""

    name: str
    stage: Stage = "queued"
    done: int = 0
    total: int = 0
    note: str = ""
    problem: str = ""
    code: str = ""
    insists: bool = False
    _share: float = 0.0
    _grew_at: float = 0.0
    _points: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def share(self) -> float:
        """Between 0 and 1, never falling; 0 while nobody knows the total."""
        return self._share

    @property
    def is_over(self) -> bool:
        """Whether no process works on it, and none will by itself."""
        return self.stage in ENDED

    def begin(self) -> None:
        """A process starts to work on it, from where it stands."""
        self.stage, self.problem, self.code, self.note = "starting", "", "", ""
        self._points.clear()

    def take(self, event: dict[str, Any], now: float | None = None) -> None:
        """One event of the command, at the time `now` in seconds."""
        now = time.monotonic() if now is None else now
        match event.get("event"):
            case "planned":
                self.note = ""
            case "progress":
                self._progress(event, now)
            case "notice":
                self.note = str(event.get("text", ""))
            case "result":
                self.stage, self.note, self.done = "done", "", max(self.total, self.done)
        if isinstance(error := event.get("error"), dict):
            self.code = str(error.get("code", ""))
            self.problem = f"{error.get('message', '')} {error.get('hint', '')}".strip()

    def _progress(self, event: dict[str, Any], now: float) -> None:
        if self.stage == "starting":
            self.stage = "running"
        self.done, self.total = max(self.done, int(event["done"])), max(self.total, int(event["total"]))
        if self.total:
            self._share = max(self._share, min(self.done / self.total, 1.0))
        notes = [str(file.get("note", "")) for file in event.get("active", ()) if file.get("note")]
        self.note = notes[0] if notes else ""
        moved = int(event["moved"])
        if not self._points or moved > self._points[-1][1]:
            self._grew_at = now
        self._points.append((now, moved))
        while len(self._points) > 2 and now - self._points[0][0] > _SPEED_SECONDS:
            self._points.popleft()

    @property
    def speed(self) -> float:
        """Bytes a second over the last ten seconds that something was told of; 0 before two points."""
        if self.stage != "running" or len(self._points) < 2:
            return 0.0
        (first, before), (last, moved) = self._points[0], self._points[-1]
        return (moved - before) / (last - first) if last > first else 0.0

    def line(self) -> str:
        """As `12.3 of 166.9 GB, 7 %, 52.1 MB/s, 49:12 left`, or what it waits for, in words."""
        if self.stage == "queued":
            return "waits for the one before"
        if self.stage == "starting":
            return f"{self._amount()}asking the hub"
        if self.stage == "failed":
            return self.problem or "it failed"
        if self.stage in ("paused", "pausing"):
            return f"{self._amount()}{self.stage}"
        if self.stage == "done":
            return "complete and checked"
        return f"{self._amount()}{self._motion()}" + (f"; {self.note}" if self.note else "")

    def _motion(self) -> str:
        quiet, speed = self._points[-1][0] - self._grew_at, self.speed
        if quiet >= _QUIET_SECONDS and self.done < self.total:
            return f"nothing came for {quiet:.0f} s"
        if self.done == self.total:
            return "checking"
        return (
            f"{format_bytes(speed)}/s, {duration((self.total - self.done) / speed)} left" if speed > 0 else "starting"
        )

    def _amount(self) -> str:
        if not self.total:
            return ""
        return f"{format_bytes(self.done)} of {format_bytes(self.total)}, {int(100 * self.share)} %, "


def duration(seconds: float) -> str:
    """As 1:02:03 or 2:03."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
