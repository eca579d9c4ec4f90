"""Prompts that wait for their turn: sent in order, paused when something goes wrong, never lost."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from dspark_tui.attachments import Attachment
from dspark_tui.engine_link import LocalEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.store import ConversationStore
from dspark_tui.unsent import Prompt, Unsent, keep_unsent, take_unsent
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.queued_prompts import QueuedLine
from tests.tui.conftest import FAKE_ENGINE
from tests.tui.fake_engine import FakeBackend


def box(chat: Any) -> Composer:
    return chat.screen.query_one(Composer)  # type: ignore[no-any-return]


def queued(chat: Any) -> list[str]:
    return [prompt.text for prompt in chat.screen.queue]


def prompts(chat: Any) -> list[str]:
    return [turn.prompt for turn in chat.screen.conversation.turns]


def shown(chat: Any) -> list[QueuedLine]:
    return [line for line in chat.screen.query(QueuedLine) if line.display]


async def begin_endless(chat: Any, *more: str) -> None:
    await chat.send("endless")
    await chat.until(lambda: len(chat.answer) > 0)
    for number, prompt in enumerate(more, 1):
        await chat.send(prompt)
        await chat.until(lambda number=number: len(chat.screen.queue) == number)


async def test_prompts_sent_during_an_answer_are_shown_in_order_and_answered_one_after_the_other(
    open_chat: Any, engine: tuple[str, FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat(size=(100, 30)) as chat:
        monkeypatch.setattr(engine[1], "pass_seconds", 0.2)
        await chat.send("hello")
        await chat.until(lambda: len(chat.answer) > 0)
        await chat.send("echo first of two")
        await chat.send("echo second of two")
        await chat.until(lambda: "✕ 1. echo first of two" in chat.text() and "✕ 2. echo second of two" in chat.text())
        engine[1].pass_seconds = 0.01
        assert box(chat).text == ""
        await chat.until(lambda: len(chat.screen.conversation.turns) == 3 and not chat.busy)
        assert prompts(chat) == ["hello", "echo first of two", "echo second of two"]
        assert chat.screen.conversation.last_answer == "second of two"
        assert chat.saved() == chat.screen.conversation
        assert not shown(chat)


async def test_esc_keeps_the_queue_and_pauses_it_until_enter_in_the_empty_box(open_chat: Any) -> None:
    async with open_chat(size=(100, 30)) as chat:
        await begin_endless(chat, "echo waited")
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.busy and "Enter in the empty box sends it on" in chat.text())
        await chat.pilot.pause(0.5)
        assert (queued(chat), prompts(chat)) == (["echo waited"], ["endless"])
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.answer == "waited" and not chat.busy)
        assert not chat.screen.is_paused


async def test_an_error_pauses_the_queue(
    open_chat: Any, engine: tuple[str, FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat(size=(100, 30)) as chat:
        monkeypatch.setattr(engine[1], "pass_seconds", 0.2)
        await chat.send("hello")
        await chat.until(lambda: len(chat.answer) > 0)
        await chat.send("a fault")
        await chat.send("echo after")
        await chat.until(lambda: len(chat.screen.queue) == 2)
        engine[1].pass_seconds = 0.01
        await chat.until(lambda: "a wire came loose" in chat.text())
        await chat.until(lambda: "Queue paused" in chat.text())
        assert queued(chat) == ["echo after"]


async def test_a_waiting_prompt_is_edited_by_key_and_removed_by_a_click_on_its_cross(
    open_chat: Any, engine: tuple[str, FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine[1], "pass_seconds", 0.2)
    async with open_chat(size=(100, 30)) as chat:
        await begin_endless(chat, "one", "two", "three")
        await chat.pilot.press("alt+up")
        await chat.until(lambda: box(chat).text == "three" and queued(chat) == ["one", "two"])
        await chat.until(lambda: len(shown(chat)) == 2)
        await chat.pilot.click(shown(chat)[0], offset=(0, 0))
        await chat.until(lambda: queued(chat) == ["two"])
        await chat.until(lambda: len(shown(chat)) == 1)
        shown(chat)[0].focus()
        await chat.pilot.press("enter")
        await chat.until(lambda: queued(chat) == [] and box(chat).text == "two\nthree")
        await chat.pilot.press("escape")
        await chat.answered()


async def test_a_prompt_sent_while_the_model_loads_is_answered_once_it_has(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--load-seconds", "1"))
    async with open_chat(link, ready=False) as chat:
        await chat.until(lambda: "Loading the model" in chat.text())
        await chat.send("echo patient")
        await chat.hinted("still loading")
        await chat.until(lambda: chat.answer == "patient")
        await chat.answered()
        assert not chat.screen.query("Welcome")
        await chat.until(lambda: chat.screen._above_box.size.height == 0)


async def test_queue_and_draft_come_back_after_the_program_was_gone(open_chat: Any) -> None:
    async with open_chat() as chat:
        await begin_endless(chat, "echo waits")
        await chat.write("a half written")
        conversation_id = chat.screen.conversation.id
    async with open_chat(resume=True) as chat:
        await chat.until(lambda: chat.screen.conversation.id == conversation_id)
        await chat.until(lambda: queued(chat) == ["echo waits"])
        assert box(chat).text == "a half written"
        assert chat.screen.is_paused
    async with open_chat() as chat:  # what belongs to another conversation stays there
        await chat.pilot.pause(0.3)
        assert (queued(chat), box(chat).text) == ([], "")


async def test_the_draft_of_a_conversation_that_never_began_comes_back_and_is_gone_once_sent(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.write("echo never sent")
    async with open_chat() as chat:
        await chat.until(lambda: box(chat).text == "echo never sent")
        await chat.pilot.press("enter")
        await chat.answered()
    async with open_chat() as chat:
        await chat.pilot.pause(0.3)
        assert box(chat).text == ""


async def test_a_paused_queue_stays_with_its_conversation(open_chat: Any) -> None:
    async with open_chat() as chat:
        await begin_endless(chat, "echo mine")
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.busy)
        first = chat.screen.conversation.id
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: chat.screen.conversation.id != first)
        assert queued(chat) == []
        await chat.screen._open(first)
        await chat.until(lambda: queued(chat) == ["echo mine"])
        assert chat.screen.is_paused


@pytest.fixture
def store(tmp_path: Any) -> Any:
    store = ConversationStore(tmp_path / "unsent.db")
    yield store
    store.close()


def test_unsent_words_survive_the_disk_with_their_files_and_are_taken_once(store: ConversationStore) -> None:
    unsent = Unsent(Prompt("draft [b]", (Attachment("a.txt", "é\n"),)), (Prompt("one"), Prompt("two")))
    keep_unsent(store, "c", unsent, is_new=True)
    assert take_unsent(store, None) == unsent
    assert take_unsent(store, None).is_empty


def test_what_another_running_chat_has_not_sent_is_left_to_it(store: ConversationStore) -> None:
    keep_unsent(store, "c", Unsent(Prompt("theirs")), is_new=True)
    store.database.execute("UPDATE unsent SET pid = 1")  # a process that always runs, and is not this one
    assert take_unsent(store, None).is_empty
    store.database.execute("UPDATE unsent SET pid = 0x7ffffff0")
    assert take_unsent(store, None).draft.text == "theirs"


def test_unsent_words_of_a_conversation_that_is_gone_go_with_it(store: ConversationStore) -> None:
    keep_unsent(store, "gone", Unsent(Prompt("words")), is_new=False)
    keep_unsent(store, "other", Unsent(Prompt("x")), is_new=True)
    rows = sqlite3.connect(store.path).execute("SELECT conversation_id FROM unsent").fetchall()
    assert rows == [("other",)]


async def test_an_edit_of_an_earlier_prompt_is_never_queued(open_chat: Any, engine: tuple[str, FakeBackend]) -> None:
    async with open_chat() as chat:
        await chat.send("echo one")
        await chat.answered()
        await chat.pilot.press("alt+up")
        await chat.until(lambda: box(chat).text == "echo one")
        chat.screen._loading = "Loading the model"
        await chat.pilot.press("enter")
        await chat.hinted("still loading")
        assert queued(chat) == []
        assert box(chat).text == "echo one"
        chat.screen._loading = ""
