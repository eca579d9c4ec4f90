"""Editing and answering again make versions; nothing is lost, and each can be gone back to."""

from __future__ import annotations

from typing import Any

import pytest

from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.turn_view import TurnView, VersionMarker
from tests.tui.fake_engine import FakeBackend

SIZES = [(80, 24), (120, 40)]


async def ask(chat: Any, *prompts: str) -> None:
    for prompt in prompts:
        await chat.send(prompt)
        await chat.answered()
        await chat.pilot.pause()


def shown(chat: Any) -> list[tuple[str, str]]:
    turns = [(turn.prompt, turn.answer) for turn in chat.screen.conversation.turns]
    assert [view.turn for view in chat.screen.query(TurnView)] == chat.screen.conversation.turns
    return turns


@pytest.mark.parametrize("size", SIZES)
async def test_the_last_answer_is_given_again_and_both_can_be_switched_between(
    open_chat: Any, engine: tuple[str, FakeBackend], size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        await ask(chat, "echo one", "echo two")
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 3 and not chat.busy)
        assert [message.content for message in engine[1].requests[-1].messages] == ["echo one", "one", "echo two"]
        await chat.until(lambda: "◂ 2/2 ▸" in chat.text())
        first, second = chat.screen.conversation.versions(chat.screen.conversation.turns[1])
        await chat.pilot.press("alt+left")
        await chat.until(lambda: "◂ 1/2 ▸" in chat.text())
        assert chat.screen.conversation.turns[1] is first
        await chat.pilot.press("alt+left")
        await chat.hinted("first of 2 versions")
        await chat.pilot.press("f8")
        await chat.until(lambda: chat.screen.conversation.turns[1] is second)
        await chat.until(lambda: "◂ 2/2 ▸" in chat.text())
        assert chat.saved() == chat.screen.conversation


@pytest.mark.parametrize("size", SIZES)
async def test_an_edited_prompt_becomes_a_version_and_what_followed_stays_with_the_old_one(
    open_chat: Any, size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        await ask(chat, "echo one", "echo two", "echo three")
        await chat.write("a draft")
        await chat.pilot.press("alt+up", "alt+up")
        box = chat.screen.query_one(Composer)
        assert box.text == "echo two"
        await chat.until(lambda: "Editing message 2 of 3" in chat.text())
        await chat.pilot.press(*" and a half", "enter")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 4 and not chat.busy)
        assert shown(chat) == [("echo one", "one"), ("echo two and a half", "two and a half")]
        assert box.text == "a draft"
        await chat.until(lambda: "◂ 2/2 ▸" in chat.text() and "Editing" not in chat.text())
        await chat.pilot.press("alt+left")
        await chat.until(lambda: len(chat.screen.conversation.turns) == 3)
        await chat.pilot.pause()
        assert shown(chat)[1:] == [("echo two", "two"), ("echo three", "three")]
        assert [turn.prompt for turn in chat.saved().turns] == ["echo one", "echo two", "echo three"]


async def test_esc_leaves_editing_and_the_draft_is_back(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("alt+up")
        await chat.hinted("Nothing to edit yet")
        await ask(chat, "echo one")
        await chat.write("draft")
        await chat.pilot.press("f6", "x", "alt+up")
        await chat.hinted("no other message")
        box = chat.screen.query_one(Composer)
        assert box.text == "echo onex"
        await chat.pilot.press("escape")
        assert (box.text, box.border_title) == ("draft", "")
        await chat.pilot.press("alt+up", "alt+down")
        assert (box.text, box.border_title) == ("draft", "")
        assert len(chat.screen.conversation.tree) == 1


async def test_the_marker_is_stepped_by_click_and_by_arrow_keys(open_chat: Any) -> None:
    async with open_chat() as chat:
        await ask(chat, "echo one")
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 2 and not chat.busy)
        await chat.until(lambda: "◂ 2/2 ▸" in chat.text())
        await chat.pilot.click(VersionMarker, offset=(0, 0))
        await chat.until(lambda: "◂ 1/2 ▸" in chat.text())
        chat.screen.query_one(VersionMarker).focus()
        await chat.pilot.press("right")
        await chat.until(lambda: "◂ 2/2 ▸" in chat.text())
        await chat.until(lambda: isinstance(chat.screen.focused, VersionMarker))


async def test_a_version_that_fails_before_its_answer_gives_the_old_path_back(open_chat: Any) -> None:
    async with open_chat() as chat:
        await ask(chat, "echo one", "echo two")
        before = shown(chat)
        await chat.pilot.press("alt+up", "alt+up")
        chat.screen.query_one(Composer).text = "this is too long"
        await chat.pilot.press("enter")
        await chat.until(lambda: "The prompt has 3,000 tokens" in chat.text())
        assert shown(chat) == before
        assert chat.screen.query_one(Composer).text == "this is too long"
        assert chat.saved() == chat.screen.conversation


async def test_versions_and_the_list_wait_for_an_answer_under_way(open_chat: Any) -> None:
    async with open_chat() as chat:
        await ask(chat, "echo one")
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 2 and not chat.busy)
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 0)
        for key, text in (
            ("ctrl+r", "Still answering"),
            ("alt+up", "then edit"),
            ("alt+left", "then switch"),
            ("ctrl+o", "then Ctrl+O"),
        ):
            await chat.pilot.press(key)
            await chat.hinted(text)
        assert len(chat.screen.conversation.tree) == 3
        await chat.pilot.press("escape")
        await chat.answered()


async def test_keys_of_conversations_are_in_the_help_and_in_the_line_above_the_box(open_chat: Any) -> None:
    async with open_chat(size=(160, 60)) as chat:
        await ask(chat, "echo one")
        await chat.until(lambda: "Ctrl+O conversations · Ctrl+R answer again · Alt+Up edit" in chat.text())
        await chat.pilot.press("f1")
        await chat.until(lambda: "search" in chat.text())
        for key in ("Ctrl+O", "Ctrl+R", "Alt+Up, F6", "Alt+Left, F7", "Alt+Right, F8"):
            assert key in chat.text()
