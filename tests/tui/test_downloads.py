"""Downloads beside the chat, against a hub on loopback and the real `dspark-local pull`."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dspark_local.demo import weights_path
from dspark_tui.downloads import Downloads
from dspark_tui.downloads_state import DownloadState
from dspark_tui.engine_link import LocalEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.models_screen import ModelsScreen
from dspark_tui.widgets.download_line import DownloadLine, download_line
from tests.local.hub.stand_in_hub import StandInHub, random_folder
from tests.tui.conftest import FAKE_ENGINE

SIZE = 3_000_000
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub that the commands of this chat ask, and a cache of their own."""
    with StandInHub() as hub:
        for name in ("one", "two"):
            hub.add(f"owner/{name}", random_folder(tmp_path / name, {WEIGHTS: SIZE}))
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield hub


async def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def progress(done: int, total: int, moved: int, note: str = "") -> dict[str, Any]:
    active = [{"path": "a", "done": done, "size": total, "note": note}]
    return {"event": "progress", "done": done, "total": total, "moved": moved, "active": active}


# ---- what the events tell


def test_share_and_bytes_never_fall_when_a_file_has_to_be_fetched_again() -> None:
    state = DownloadState("m")
    state.begin()
    shares = []
    for at, (done, total) in enumerate([(10, 100), (90, 100), (90, 190), (40, 190), (190, 190)]):
        state.take(progress(done, total, done), float(at))
        shares.append(state.share)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert state.line().endswith("checking")


def test_speed_and_time_left_are_those_of_the_last_ten_seconds() -> None:
    state = DownloadState("m")
    state.begin()
    for second in range(60):
        rate = 1_000_000 if second < 30 else 5_000_000
        moved = min(second, 30) * 1_000_000 + max(second - 30, 0) * 5_000_000
        state.take(progress(moved, 1_000_000_000, moved), float(second))
    assert rate == pytest.approx(state.speed, rel=0.01)
    assert "5.0 MB/s, 2:45 left" in state.line()
    assert "175.0 MB of 1.0 GB, 17 %" in state.line()


def test_silence_is_said_and_so_is_what_is_waited_for() -> None:
    state = DownloadState("m")
    state.begin()
    for second in range(8):
        state.take(progress(500, 1000, 500, "no data came, retry in 5 s"), float(second))
    assert state.line() == "500 B of 1.0 kB, 50 %, nothing came for 7 s; no data came, retry in 5 s"


@pytest.mark.parametrize("width", [76, 156])
def test_the_line_keeps_to_the_width_by_leaving_out_the_bar(width: int) -> None:
    state = DownloadState("deepseek-v4-flash-0731")
    state.begin()
    for second in range(3):
        state.take(progress(second * 10**9, 166 * 10**9, second * 10**9), float(second))
    line = download_line(state, 0, width)
    assert len(line) <= max(width, 80)
    assert ("░" in line) == (width > 100)


# ---- the process behind


async def test_one_download_runs_at_a_time_and_both_arrive(hub: StandInHub) -> None:
    hub.bytes_per_second = 6e6
    stages: list[tuple[str, str]] = []
    downloads = Downloads()
    downloads.pull("owner/one")
    downloads.pull("owner/two")
    while not all(state.stage == "done" for state in downloads.states.values()):
        stages.append((downloads.states["owner/one"].stage, downloads.states["owner/two"].stage))
        assert not {"failed", "paused"} & set(stages[-1]), downloads.states
        await asyncio.sleep(0.01)
    assert not [pair for pair in stages if pair[1] != "queued" and pair[0] != "done"]
    assert downloads.states["owner/two"].done == SIZE + 26, "the weights and config.json"
    assert not downloads.unfinished
    await downloads.close()


async def test_a_pause_keeps_what_arrived_and_the_same_pull_goes_on_from_there(hub: StandInHub) -> None:
    hub.bytes_per_second = 1.5e6
    downloads = Downloads()
    state = downloads.pull("owner/one")
    await until(lambda: state.done > 500_000)
    assert downloads.pause("owner/one")
    await until(lambda: state.is_over)
    assert (state.stage, state.problem) == ("paused", "")
    assert downloads.unfinished == ["owner/one"]
    kept, hub.bytes_per_second = state.done, None
    assert downloads.pull("owner/one") is state
    assert state.done == kept
    await until(lambda: state.is_over)
    assert state.stage == "done", state.problem
    assert hub.served[WEIGHTS] < SIZE + 1_000_000
    await downloads.close()


async def test_closing_pauses_and_ends_the_process(hub: StandInHub) -> None:
    hub.bytes_per_second = 0.5e6
    downloads = Downloads()
    state, waiting = downloads.pull("owner/one"), downloads.pull("owner/two")
    await until(lambda: state.stage == "running")
    process = downloads._process
    assert process is not None
    begin = time.monotonic()
    await downloads.close()
    assert time.monotonic() - begin < 5
    assert process.returncode is not None
    assert (state.stage, waiting.stage) == ("paused", "paused")


async def test_failures_are_told_in_the_commands_own_words(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["owner/one"].needs_token = "hf_good"
    downloads = Downloads()
    gated, missing = downloads.pull("owner/one"), downloads.pull("owner/none")
    await until(lambda: missing.is_over)
    assert (gated.stage, gated.code) == ("failed", "access_denied")
    assert "HF_TOKEN" in gated.problem
    assert "has no model owner/none" in missing.problem
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.repos["owner/one"].needs_token = "hf_good"
    downloads.pull("owner/one")
    await until(lambda: gated.is_over)
    assert (gated.stage, gated.problem) == ("done", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = downloads.pull("owner/other")
    await until(lambda: offline.is_over)
    assert "HF_HUB_OFFLINE" in offline.problem
    await downloads.close()


async def test_a_process_that_is_killed_is_a_failure_that_says_so(hub: StandInHub) -> None:
    hub.bytes_per_second = 0.5e6
    downloads = Downloads()
    state = downloads.pull("owner/one")
    await until(lambda: state.stage == "running")
    assert downloads._process is not None
    downloads._process.kill()
    await until(lambda: state.is_over)
    assert state.problem == "The download was killed by signal 9. What has arrived is kept."
    await downloads.close()


async def test_a_disk_too_small_is_told_with_the_bytes(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1048576", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        monkeypatch.setenv("HF_HOME", str(disk))
        downloads = Downloads()
        state = downloads.pull("owner/one")
        await until(lambda: state.is_over)
        assert state.code == "disk_full"
        assert "3.0 MB are still to be written" in state.problem
        assert "Free at least" in state.problem
        await downloads.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


# ---- in the chat


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_download_shows_above_the_box_while_the_chat_answers(
    open_chat: Any, hub: StandInHub, size: tuple[int, int], no_facts: None
) -> None:
    hub.bytes_per_second = 1e6
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    async with open_chat(link, size=size) as chat:
        chat.screen.slash_pull("owner/one")
        await chat.until(lambda: "of 3.0 MB" in chat.text())
        assert "MB/s" in chat.text() or "starting" in chat.text()
        await chat.send("echo meanwhile")
        await chat.answered()
        assert chat.answer == "meanwhile"
        (line,) = chat.screen.query(DownloadLine)
        assert line.state.stage in ("running", "starting"), "the answer came while it was under way"
        hub.bytes_per_second = None
        await chat.until(lambda: "owner/one is here and checked. F5, Enter: use it." in chat.text())


async def test_leaving_in_the_middle_says_the_command_that_continues(
    open_chat: Any, hub: StandInHub, no_facts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[tuple[Any, str]] = []
    monkeypatch.setattr("atexit.register", lambda *call: at_exit.append(call))
    hub.bytes_per_second = 0.5e6
    async with open_chat(LocalEngine(EngineOptions(), command=FAKE_ENGINE)) as chat:
        chat.screen.slash_pull("owner/one")
        await chat.until(lambda: "of 3.0 MB" in chat.text())
        app, desk = chat.app, chat.screen.desk
        await chat.pilot.press("ctrl+q")
    ((_, text),) = at_exit
    assert text.endswith("\n  dspark-local pull owner/one")
    assert desk.downloads.states["owner/one"].stage == "paused"
    assert app.return_code in (0, None)


@pytest.mark.slow
async def test_a_model_pulled_in_the_chat_is_switched_to_and_answers(open_chat: Any, hub: StandInHub) -> None:
    hub.add("owner/v4", weights_path())
    async with open_chat(LocalEngine(EngineOptions()), ready=False) as chat:
        await chat.until(lambda: chat.screen.info is not None, 120)
        chat.screen.slash_pull("owner/v4")
        await chat.until(lambda: "owner/v4 is here and checked" in chat.text(), 60)
        await chat.send("What is 27 + 48?")
        await chat.answered()
        first = chat.answer
        await chat.pilot.press("f5")
        await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen) and "owner/v4" in chat.text(), 60)
        await chat.until(lambda: chat.app.screen.chosen.name == "owner/v4" and chat.app.screen.chosen.is_here, 60)
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.screen.info is None)
        await chat.until(lambda: chat.screen.info is not None, 120)
        assert chat.screen._link.options == EngineOptions(model="owner/v4")
        assert not chat.screen.info.is_demo
        await chat.send("What is 27 + 48?")
        await chat.answered()
        assert chat.answer == first
        assert "75" in chat.answer
        assert [turn.state for turn in chat.screen.conversation.turns] == ["complete", "complete"]
