from __future__ import annotations

import re
from typing import Any

import pytest

from dspark_tui.actions import ACTIONS
from dspark_tui.keymap import displayed, keymap
from dspark_tui.settings_file import ChatFile


def test_ids_keys_and_commands_are_each_there_once() -> None:
    ids = [action.id for action in ACTIONS]
    keys = [key for action in ACTIONS for key in action.keys.split(",") if key]
    commands = [action.slash for action in ACTIONS if action.slash]
    for names in (ids, keys, commands):
        assert len(names) == len(set(names))


def test_without_wishes_the_default_keys_hold() -> None:
    keys = keymap({})
    assert keys.keys["edit"] == ("alt+up", "f6")
    assert (keys.changed, keys.problems, keys.for_textual()) == (frozenset(), (), {})


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"nwe": "f12"}, "keys.nwe: there is no such action; did you mean new?"),
        ({"new": "crtl+b"}, "keys.new: 'crtl+b' is no key"),
        ({"new": "x"}, "keys.new: X is needed for writing."),
        ({"new": "enter"}, "keys.new: Enter is needed for writing."),
        ({"new": "f12", "help": "f12"}, "keys.help: F12 already stands at new."),
        ({"new": "ctrl+o"}, "keys.new takes Ctrl+O from conversations, which is left with no key."),
        ({"new": "f6"}, "keys.new takes F6 from edit, which is left with Alt+Up."),
    ],
)
def test_a_wish_that_cannot_be_followed_or_takes_a_key_is_told_of(wishes: dict[str, str], problem: str) -> None:
    problems = keymap(wishes).problems
    assert len(problems) == 1
    assert problem in problems[0]


def test_keys_may_be_exchanged_without_a_word() -> None:
    keys = keymap({"new": "ctrl+o", "conversations": "ctrl+n"})
    assert keys.problems == ()
    assert (keys.keys["new"], keys.keys["conversations"]) == (("ctrl+o",), ("ctrl+n",))


def test_keys_are_written_as_people_write_them() -> None:
    keys = ["escape", "ctrl+pageup", "alt+left", "f9", "ctrl+n", "ctrl+question_mark"]
    assert [displayed(key) for key in keys] == ["Esc", "Ctrl+PgUp", "Alt+Left", "F9", "Ctrl+N", "Ctrl+?"]


async def test_a_remapped_key_acts_the_old_one_does_not_and_the_help_page_tells(open_chat: Any) -> None:
    file = ChatFile.model_validate({"keys": {"thinking": "ctrl+b", "help": "f12", "quit": ""}})
    async with open_chat(size=(160, 60), file=file) as chat:
        await chat.pilot.press("ctrl+t", "ctrl+q")
        assert not chat.screen.thinking
        await chat.pilot.press("ctrl+b")
        assert chat.screen.thinking
        await chat.pilot.press("f12")
        await chat.until(lambda: re.search(r"Ctrl\+B +/think ", chat.text()) is not None)
        assert "Ctrl+T" not in chat.text()
        assert "Ctrl+Q" not in chat.text()


async def test_hints_name_the_keys_in_force(open_chat: Any) -> None:
    file = ChatFile.model_validate({"keys": {"help": "f12", "example_1": "", "regenerate": "ctrl+b", "edit": ""}})
    async with open_chat(file=file) as chat:
        await chat.until(lambda: "F12 all keys" in chat.text() and "F12 help" in chat.text())
        assert "F1 " not in chat.text()
        assert "F2 " not in chat.text()
        await chat.send("hello")
        await chat.answered()
        await chat.until(
            lambda: "Ctrl+O conversations · Ctrl+B answer again · /edit edit · F12 all keys" in chat.text()
        )


async def test_on_a_narrow_screen_whole_hints_go_and_the_way_to_all_keys_stays(open_chat: Any) -> None:
    async with open_chat(size=(60, 24)) as chat:
        await chat.send("hello")
        await chat.answered()
        await chat.until(lambda: "Ctrl+O conversations · Ctrl+R answer again · F1 all keys" in chat.text())


async def test_exchanged_keys_do_each_others_work(open_chat: Any) -> None:
    file = ChatFile.model_validate({"keys": {"thinking": "ctrl+y", "copy_answer": "ctrl+t"}})
    async with open_chat(file=file) as chat:
        await chat.pilot.press("ctrl+y")
        assert chat.screen.thinking
        await chat.pilot.press("ctrl+t")
        assert chat.screen.thinking
        await chat.hinted("no answer to copy")


async def test_every_action_of_the_list_has_its_method(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        for action in ACTIONS:
            name = action.call.partition("(")[0]
            owner = chat.app if name.startswith("app.") else chat.screen
            assert hasattr(owner, f"action_{name.removeprefix('app.')}"), action
            if action.argument:
                assert hasattr(chat.screen, f"slash_{action.slash}"), action


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_the_help_page_holds_every_action_and_can_be_read_to_its_end(
    open_chat: Any, size: tuple[int, int]
) -> None:
    async with open_chat(size=size, ready=False) as chat:
        await chat.pilot.press("f1")
        await chat.until(lambda: "Keys and commands" in chat.text())
        seen = chat.text()
        for _ in range(6):
            await chat.pilot.press("pagedown")
            await chat.pilot.pause(0.05)
            seen += chat.text()
        await chat.pilot.press("end")
        await chat.until(lambda: "same either way." in chat.text())
        for action in ACTIONS:
            if action.title and action.slash:
                assert f"/{action.slash}" in seen, action
