"""A stand-in hub, a cache and a state folder for each test, and the real client code between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dspark_local.hub.events import Event, Notice, Progress
from dspark_local.hub.intake import Settings
from dspark_local.hub.patience import Patience
from dspark_local.hub.pulling import PullResult, orders, pull
from tests.local.hub.stand_in_hub import StandInHub

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.05, stall_seconds=0.4, longest_asked_wait=2.0)


@dataclass
class Setting:
    """What a test pulls with. events collects everything that was told, in order."""

    hub: StandInHub
    root: Path
    cache: Path
    patience: Patience = QUICK
    events: list[Event] = field(default_factory=list)

    def pull(self, reference: str = "owner/model", *, segment_bytes: int = 2**20, **options: Any) -> PullResult:
        own = {
            name: options.pop(name) for name in ("on_file", "connections", "reserve_bytes", "token") if name in options
        }
        settings = Settings(
            self.events.append, patience=self.patience, segment_bytes=segment_bytes, endpoint=self.hub.endpoint
        )
        return pull(orders(reference, **options), replace(settings, **own))

    @property
    def progress(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    def notes(self) -> set[str]:
        return {file.note for event in self.progress for file in event.active if file.note}

    def partial_files(self) -> list[Path]:
        return sorted(self.cache.rglob("*.dspark-part"))

    def assert_progress_never_falls(self) -> None:
        done = [event.done for event in self.progress]
        assert done == sorted(done)
        assert all(event.done <= event.total for event in self.progress)


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "dspark"))
    with StandInHub() as hub:
        yield Setting(hub, tmp_path, cache)
