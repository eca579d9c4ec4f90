"""A disk that refuses: nothing said may be lost, and the person is told."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dspark_local.errors import DsparkError
from dspark_tui import cli
from dspark_tui.conversation import Conversation
from dspark_tui.store import ConversationStore
from dspark_tui.store_records import from_json
from dspark_tui.widgets.notice import UnsavedNotice


class Disk:
    """Refuses every write into the store while it is full: SQLite gets no further page, as on a real full disk."""

    def __init__(self, store: ConversationStore) -> None:
        self._database = store.database
        self.is_full = True

    @property
    def is_full(self) -> bool:
        return self._is_full

    @is_full.setter
    def is_full(self, is_full: bool) -> None:
        self._is_full = is_full
        self._database.execute(f"PRAGMA max_page_count = {1 if is_full else 1 << 30}")


BIG = "word " * 20_000  # more than the free room in pages that are there already


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path / "conversations.db")
    yield store
    store.close()


@pytest.fixture
def disk(store: ConversationStore) -> Disk:
    return Disk(store)


def said(*prompts: str) -> Conversation:
    conversation = Conversation()
    for prompt in prompts:
        turn = conversation.begin(prompt)
        turn.answer, turn.state = BIG, "complete"
    return conversation


def test_what_the_disk_refused_is_saved_as_soon_as_it_takes_it(store: ConversationStore, disk: Disk) -> None:
    first, second = said("a"), said("b")
    store.keep(first)
    store.keep(second)
    assert store.problem == "database or disk is full"
    assert not store.contains(first.id)
    disk.is_full = False
    store.keep(second)
    assert store.problem, "the first one is still owed"
    store.retry()
    assert store.problem == ""
    assert [store.load(one.id) for one in (first, second)] == [first, second]
    assert store.rescue() == []


def test_what_a_full_disk_refused_of_a_grown_answer_leaves_the_old_one_whole(
    store: ConversationStore, disk: Disk
) -> None:
    disk.is_full = False
    conversation = said("a")
    store.save(conversation)
    before = store.load(conversation.id)
    disk.is_full = True
    conversation.begin("b").answer = BIG
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.save(conversation)
    assert ConversationStore(store.path).load(conversation.id) == before


def test_what_is_refused_to_the_end_is_copied_to_the_temporary_folder(
    tmp_path: Path, store: ConversationStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuge = tmp_path / "tmp"
    refuge.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(refuge))
    conversation = said("Grüße", "世界")
    store.keep(conversation)
    with pytest.raises(DsparkError, match=r"dspark-conversation-.*\.json") as caught:
        cli._rescue(store)
    assert str(store.path) in caught.value.hint
    (copy,) = refuge.iterdir()
    assert from_json(json.loads(copy.read_text())) == conversation
    assert copy.stat().st_mode & 0o077 == 0


def test_a_conversation_that_no_folder_takes_is_reported_as_lost(
    tmp_path: Path, store: ConversationStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    store.keep(said("a"))
    with pytest.raises(DsparkError, match="is lost"):
        cli._rescue(store)


async def test_a_disk_turned_read_only_is_said_in_the_chat_until_it_takes_writes_again(open_chat: Any) -> None:
    async with open_chat(size=(100, 40)) as chat:
        chat.store.database.execute("PRAGMA query_only = ON")
        await chat.send("echo remember this")
        await chat.answered()
        await chat.until(lambda: "not on disk: attempt to write a readonly database" in chat.text())
        await chat.until(lambda: "NOT SAVED │ demo" in chat.text())
        assert chat.screen.conversation.last_answer == "remember this"
        chat.store.database.execute("PRAGMA query_only = OFF")
        await chat.until(lambda: not chat.screen.query(UnsavedNotice))
        await chat.until(lambda: "NOT SAVED" not in chat.text())
        await chat.hinted("on disk now")
        assert chat.saved().turns[0].answer == "remember this"


@pytest.mark.parametrize("obstacle", ["home", "home/logs", "home/conversations.db", "home/logs/chat.log"])
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
