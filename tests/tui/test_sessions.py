"""The list of conversations: found, opened, renamed, deleted, exported, imported, by keyboard and by mouse."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList

from dspark_tui.conversation import Conversation
from dspark_tui.sessions_screen import SessionsScreen
from dspark_tui.store import ConversationStore
from dspark_tui.store_records import from_json, to_json
from dspark_tui.store_search import search
from dspark_tui.widgets.line_dialog import LineDialog
from dspark_tui.widgets.message_list import MessageList
from dspark_tui.widgets.turn_view import TurnView
from dspark_tui.widgets.welcome import Welcome
from tests.tui.fake_engine import FakeBackend

SIZES = [(80, 24), (120, 40)]


def said(*prompts: str, at: float = 1000.0) -> Conversation:
    conversation = Conversation(created_at=at, model="m")
    for number, prompt in enumerate(prompts):
        turn = conversation.begin(prompt)
        turn.answer, turn.state, turn.started_at = f"answer to {prompt}", "complete", at + number
    return conversation


def fill(store: ConversationStore) -> None:
    for at, prompt in enumerate(("about kernels", "about caches", "about a needle in hay")):
        store.save(said(prompt, f"more {prompt}", at=1000.0 + 100 * at))


async def open_list(chat: Any) -> SessionsScreen:
    await chat.pilot.press("ctrl+o")
    await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen) and chat.app.screen._found.total > 0)
    await chat.pilot.pause()
    return chat.app.screen  # type: ignore[no-any-return]


@pytest.mark.parametrize("size", SIZES)
async def test_the_list_shows_what_there_is_and_the_keys_within_the_screen(
    open_chat: Any, size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        fill(chat.store)
        await open_list(chat)
        await chat.until(lambda: "about kernels" in chat.text())
        text = chat.text()
        assert text.index("about a needle") < text.index("about caches") < text.index("about kernels")
        assert "4 messages · m" in text
        for key in ("Open", "Rename", "Export", "Import", "Delete", "Undo", "Back"):
            assert key in text
        assert "Jan" in text or "1970" in text


@pytest.mark.parametrize("size", SIZES)
async def test_typing_searches_and_enter_opens_the_whole_conversation_for_the_next_prompt(
    open_chat: Any, engine: tuple[str, FakeBackend], size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        fill(chat.store)
        await open_list(chat)
        await chat.pilot.press(*"answer", "space", *"needle")
        await chat.until(lambda: "1 found" in chat.text() and "answer to more about a needle in hay" in chat.text())
        await chat.pilot.press("enter")
        await chat.until(lambda: len(chat.screen.query(TurnView)) == 2 and not chat.screen.query(Welcome))
        await chat.until(lambda: "answer to about a needle in hay" in chat.text())
        await chat.send("echo further")
        await chat.answered()
        request = engine[1].requests[-1]
        assert [message.content for message in request.messages] == [
            "about a needle in hay",
            "answer to about a needle in hay",
            "more about a needle in hay",
            "answer to more about a needle in hay",
            "echo further",
        ]
        assert request.conversation_id == search(chat.store, "needle").summaries[0].id
        assert len(chat.saved().turns) == 3


async def test_enter_right_after_typing_opens_what_was_typed(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        await open_list(chat)
        await chat.pilot.press(*"kernels", "enter")
        await chat.until(lambda: chat.screen.conversation.title == "about kernels")


async def test_arrows_move_while_the_search_keeps_the_keys_and_esc_leaves_in_two_steps(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        screen = await open_list(chat)
        assert screen.chosen is not None
        await chat.pilot.press("down", "down")
        assert screen.chosen.title == "about kernels"
        await chat.pilot.press("up", *"zzz")
        await chat.until(lambda: "nothing has these words" in chat.text())
        await chat.pilot.press("enter")
        assert chat.app.screen is screen
        await chat.pilot.press("escape")
        await chat.until(lambda: screen._found.total == 3)
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert chat.screen.query(Welcome)


async def test_a_click_chooses_and_a_second_click_opens(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        screen = await open_list(chat)
        await chat.pilot.click(OptionList, offset=(10, 3))
        await chat.until(lambda: screen.chosen is not None and screen.chosen.title == "about caches")
        assert chat.app.screen is screen
        await chat.pilot.click(OptionList, offset=(10, 2))
        await chat.until(lambda: chat.screen.conversation.title == "about caches")


async def test_a_conversation_is_renamed(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        await open_list(chat)
        await chat.pilot.press("down", "f2")
        await chat.until(lambda: isinstance(chat.app.screen, LineDialog))
        chat.app.screen.query_one(Input).value = "KV caches"
        await chat.pilot.press("enter")
        await chat.until(lambda: "KV caches" in chat.text() and "Renamed." in chat.text())
        await chat.pilot.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, LineDialog))
        await chat.pilot.press("x", "escape")
        await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
        assert search(chat.store, "KV caches").total == 1


async def test_deleting_can_be_undone_one_by_one(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        screen = await open_list(chat)
        await chat.pilot.press("f8", "f8")
        await chat.until(lambda: screen._found.total == 1)
        assert "Ctrl+Z brings it back" in chat.text()
        await chat.pilot.press("ctrl+z")
        await chat.until(lambda: "about caches" in chat.text())
        await chat.pilot.press("ctrl+z", "ctrl+z")
        await chat.until(lambda: "Nothing to undo" in chat.text())
        assert screen._found.total == 3


async def test_deleting_the_open_conversation_leaves_an_empty_one(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("echo secret")
        await chat.answered()
        await open_list(chat)
        await chat.pilot.press("f8", "escape")
        await chat.until(lambda: bool(chat.screen.query(Welcome)))
        assert chat.screen.conversation.turns == []
        assert not chat.screen.query(TurnView)
        assert search(chat.store).total == 0


async def test_a_new_title_of_the_open_conversation_survives_its_next_answer(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("echo a")
        await chat.answered()
        chat.store.rename(chat.screen.conversation.id, "as in another window")
        await open_list(chat)
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.screen.conversation.name == "as in another window")
        await chat.send("echo b")
        await chat.answered()
        assert search(chat.store).summaries[0].title == "as in another window"


async def test_export_writes_markdown_or_json_and_shows_the_path(
    open_chat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_chat(size=(120, 40)) as chat:
        fill(chat.store)
        await open_list(chat)
        for name in (None, "whole.json", "whole.json", "odd.txt"):
            await chat.pilot.press("f5")
            await chat.until(lambda: isinstance(chat.app.screen, LineDialog))
            if name is not None:
                chat.app.screen.query_one(Input).value = name
            await chat.pilot.press("enter")
            await chat.until(lambda: isinstance(chat.app.screen, SessionsScreen))
            said_now = {None: "needle-in-hay.md", "odd.txt": "neither in .md nor in .json"}.get(name, "whole.json")
            await chat.until(lambda text=said_now: text in chat.text())
        assert "exists already" not in chat.text()
        markdown = (tmp_path / "about-a-needle-in-hay.md").read_text()
        assert markdown.startswith("# about a needle in hay\n")
        assert markdown.index("## You") < markdown.index("## Model") < markdown.index("answer to more")
        exported = from_json(json.loads((tmp_path / "whole.json").read_text()))
        assert exported == chat.store.load(exported.id)


async def test_import_takes_in_a_file_and_says_what_it_left_out(open_chat: Any, tmp_path: Path) -> None:
    path = tmp_path / "messages.json"
    path.write_text(json.dumps([{"role": "user", "content": "imported"}, {"role": "tool", "content": "x"}]))
    async with open_chat() as chat:
        fill(chat.store)
        await open_list(chat)
        for name, text in ((path, "Imported 1 conversation. 1 messages"), (tmp_path / "none.json", "There is no file")):
            await chat.pilot.press("f6")
            await chat.until(lambda: isinstance(chat.app.screen, LineDialog))
            chat.app.screen.query_one(Input).value = str(name)
            await chat.pilot.press("enter")
            await chat.until(lambda text=text: text in chat.text())
        assert search(chat.store, "imported").total == 1


async def test_continue_opens_the_latest_conversation_and_says_that_it_was_cut_off(open_chat: Any) -> None:
    async with open_chat() as chat:
        fill(chat.store)
        cut = said("latest", at=5000.0)
        cut.turns[0].state = "answering"
        chat.store.save(cut)
    async with open_chat(resume=True) as chat:
        await chat.until(lambda: chat.screen.conversation.title == "latest")
        await chat.hinted("cut off: Ctrl+G goes on with it, Ctrl+R answers again.")
        await chat.until(lambda: "answer to latest" in chat.text())


async def test_five_thousand_messages_open_in_half_a_second_and_all_of_them_can_be_scrolled_to(
    open_chat: Any,
) -> None:
    long = said(*(f"question number {n}" for n in range(2500)))
    for turn in long.turns:
        turn.answer = f"Answer to {turn.prompt}: **bold**, `code`.\n\n- one\n- two\n"
    async with open_chat(size=(120, 40)) as chat:
        chat.store.save(long)
        seconds = [float("inf")]
        while min(seconds) >= 0.5 and len(seconds) < 6:  # the least: other programs on this machine only ever add
            await chat.pilot.press("ctrl+n")
            await open_list(chat)
            started = time.process_time()
            chat.app.screen.action_open()
            while "Answer to question number 2499" not in chat.text():
                await asyncio.sleep(0.03)
            seconds.append(time.process_time() - started)
            await chat.pilot.pause(0.3)
        print("opened after", *(f"{one:.3f} s" for one in seconds[1:]))
        assert len(chat.screen.conversation.turns) == 2500
        assert min(seconds) < 0.5
        messages = chat.screen.query_one(MessageList)
        await chat.until(lambda: messages.max_scroll_y > 40)
        assert len(chat.screen.query(TurnView)) < 40
        while messages.first > 2500 - 40:
            messages.scroll_to(y=0, animate=False)
            await chat.pilot.pause(0.05)
        await chat.until(lambda: messages.scroll_y > 0, seconds=5)


def first_prompt(chat: Any) -> str:
    return re.search(r"█ (question number \d+)", chat.text())[1]  # type: ignore[index]


async def test_what_is_being_read_stays_in_place_when_earlier_messages_arrive_above(open_chat: Any) -> None:
    async with open_chat() as chat:
        long = said(*(f"question number {n}" for n in range(60)))
        chat.store.save(long)
        await open_list(chat)
        await chat.pilot.press("enter")
        await chat.until(lambda: "question number 59" in chat.text())
        messages = chat.screen.query_one(MessageList)
        await chat.until(lambda: messages.max_scroll_y > messages.size.height and not messages._is_settling)
        for _ in range(5):
            before, seen, target = messages.first, [first_prompt(chat)], messages.size.height // 2
            tops = [(view.virtual_region.y + 1, view.turn.prompt) for view in chat.screen.query(TurnView)]
            there = next(prompt for y, prompt in tops if y >= target)
            messages.scroll_to(y=target, animate=False)
            while messages.first == before or messages._is_settling:
                await asyncio.sleep(0.005)
                seen.append(first_prompt(chat))
            changes = [prompt for prompt, last in zip(seen[1:], seen, strict=False) if prompt != last]
            assert changes == [there]
        for _ in range(60):
            await chat.pilot.press("pageup")
            await chat.pilot.pause(0.05)
            if messages.first == 0 and messages.scroll_y == 0:
                break
        await chat.until(lambda: "question number 0 " in chat.text())


def test_an_import_of_our_own_export_stands_beside_the_original(tmp_path: Path) -> None:
    from dspark_tui.importing import read_conversations

    store = ConversationStore(tmp_path / "a.db")
    conversation = said("one", "two")
    store.save(conversation)
    path = tmp_path / "one.json"
    path.write_text(to_json(conversation))
    (copy,) = read_conversations(path).conversations
    store.save(copy)
    assert search(store).total == 2
    assert [turn.answer for turn in store.load(copy.id).turns] == [turn.answer for turn in conversation.turns]


def test_the_chat_with_its_list_loads_no_torch_and_no_server() -> None:
    code = (
        "import sys; import dspark_tui.app, dspark_tui.cli, dspark_tui.importing_legacy\n"
        "assert 'dspark_tui.sessions_screen' in sys.modules\n"
        "print([m for m in ('torch', 'transformers', 'starlette', 'uvicorn', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
