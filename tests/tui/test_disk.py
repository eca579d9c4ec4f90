"""A disk that refuses: nothing said may be lost, and the person is told."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dspark_local.errors import DsparkError
from dspark_tui import cli
from dspark_tui.conversation import Conversation
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.notice import UnsavedNotice


class Disk:
    """Refuses every write into the store while it is full."""

    is_full = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sync = os.fsync
        monkeypatch.setattr("dspark_local.paths.os.fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def said(*prompts: str) -> Conversation:
    conversation = Conversation()
    for prompt in prompts:
        turn = conversation.begin(prompt)
        turn.answer, turn.state = prompt.upper(), "complete"
    return conversation


def test_what_the_disk_refused_is_saved_as_soon_as_it_takes_it(tmp_path: Path, disk: Disk) -> None:
    store = ConversationStore(tmp_path)
    first, second = said("a"), said("b")
    store.keep(first)
    store.keep(second)
    assert store.problem == "No space left on device"
    assert list(tmp_path.iterdir()) == []
    disk.is_full = False
    store.keep(second)
    assert store.problem, "the first one is still owed"
    store.retry()
    assert store.problem == ""
    assert [store.load(store.path(one)) for one in (first, second)] == [first, second]
    assert store.rescue() == []


def test_what_is_refused_to_the_end_is_copied_to_the_temporary_folder(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuge = tmp_path / "tmp"
    refuge.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(refuge))
    store = ConversationStore(tmp_path)
    conversation = said("Grüße", "世界")
    store.keep(conversation)
    with pytest.raises(DsparkError, match=r"dspark-conversation-.*\.json") as caught:
        cli._rescue(store)
    assert str(tmp_path) in caught.value.hint
    (copy,) = refuge.iterdir()
    assert store.load(copy) == conversation
    assert copy.stat().st_mode & 0o077 == 0


def test_a_conversation_that_no_folder_takes_is_reported_as_lost(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    store = ConversationStore(tmp_path)
    store.keep(said("a"))
    with pytest.raises(DsparkError, match="is lost"):
        cli._rescue(store)


async def test_a_full_disk_is_said_in_the_chat_until_it_has_room_again(open_chat: Any, disk: Disk) -> None:
    async with open_chat(size=(100, 40)) as chat:
        await chat.send("echo remember this")
        await chat.answered()
        await chat.until(lambda: "not on disk: No space left on device" in chat.text())
        await chat.until(lambda: "NOT SAVED │ demo" in chat.text())
        assert chat.screen.conversation.last_answer == "remember this"
        disk.is_full = False
        await chat.until(lambda: not chat.screen.query(UnsavedNotice))
        await chat.until(lambda: "NOT SAVED" not in chat.text())
        await chat.hinted("on disk now")
        assert chat.saved().turns[0].answer == "remember this"


@pytest.mark.parametrize("obstacle", ["home", "home/logs", "home/conversations", "home/logs/chat.log"])
def test_a_state_folder_that_cannot_be_used_is_one_message(home: Path, obstacle: str) -> None:
    path = home.parent / obstacle
    path.parent.mkdir(parents=True, exist_ok=True)
    if obstacle.endswith(".log"):
        path.symlink_to(path.parent / "none" / "chat.log")
    else:
        path.write_text("a file where a folder should be")
    with pytest.raises(DsparkError, match="cannot be used") as caught:
        cli._state_folder()
    assert str(path) in caught.value.message
    assert "DSPARK_HOME" in caught.value.hint
