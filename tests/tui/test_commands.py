from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.command import CommandPalette
from textual.drivers.headless_driver import HeadlessDriver

from dspark_tui.actions import ACTIONS
from dspark_tui.settings_file import ChatFile, load_settings, settings_path
from dspark_tui.slash import escaped, find, matching, parse, plain, unknown
from dspark_tui.title_part import terminal_title


def box(chat: Any) -> Any:
    return chat.screen.query_one("Composer")


def listed(chat: Any) -> list[str]:
    commands = chat.screen.query_one("SlashList")
    return [str(option.id) for option in commands.options] if commands.display else []


async def command(chat: Any, text: str) -> None:
    chat.screen._phase.last_hint = ""
    await chat.write(text)
    await chat.pilot.press("enter")
    await chat.pilot.pause()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/help", ("help", "")),
        ("/Rename  My  title ", ("rename", "My  title")),
        ("/?", ("?", "")),
        ("/usr/bin is a folder", None),
        ("/help\nme", None),
        ("//help", None),
        ("/ help", None),
        ("a /help", None),
    ],
)
def test_a_command_is_one_line_that_begins_with_a_stroke_and_a_word(text: str, meant: tuple[str, str] | None) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize("prompt", ["/help", "//x", "/usr/bin", "plain", "/help\nme"])
def test_any_prompt_can_be_written_so_that_it_is_sent_as_it_is(prompt: str) -> None:
    written = escaped(prompt)
    assert parse(written) is None
    assert plain(written) == prompt


def test_commands_are_found_by_their_beginning_first_then_by_their_letters() -> None:
    assert matching("ex")[0].slash == "export"
    assert "export" in [action.slash for action in matching("xprt")]
    assert len(matching("")) == len([action for action in ACTIONS if action.slash])
    assert find("clear") == find("new")
    assert "Did you mean /theme?" in unknown("tehme")


async def test_a_stroke_lists_the_commands_and_typing_narrows_them(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        await chat.pilot.press("slash")
        assert "help" in listed(chat)
        assert "again" not in listed(chat), "there is nothing to answer again"
        await chat.pilot.press(*"hel")
        await chat.until(lambda: "All keys and commands" in chat.text())
        assert listed(chat)[0] == "help"
        await chat.pilot.press("escape")
        assert (listed(chat), box(chat).text) == ([], "/hel")
        await chat.pilot.press("p")
        assert listed(chat)[0] == "help"
        await chat.pilot.press("enter")
        await chat.until(lambda: "Keys and commands" in chat.text())
        assert box(chat).text == ""


async def test_tab_completes_arrows_choose_and_a_command_that_needs_more_waits_for_it(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        await chat.pilot.press("slash", *"th")
        assert listed(chat)[:2] == ["theme", "think"]
        await chat.pilot.press("down", "tab")
        assert box(chat).text == "/think"
        box(chat).clear()
        await chat.pilot.press("slash", *"impo", "enter")
        assert box(chat).text == "/import "
        assert listed(chat) == []
        await chat.pilot.press("enter")
        await chat.hinted("/import PATH")


async def test_a_click_on_a_listed_command_obeys_it(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        await chat.pilot.press("slash", *"think")
        await chat.until(lambda: "Thinking on or off" in chat.text())
        await chat.pilot.click("SlashList", offset=(3, 0))
        await chat.hinted("Thinking is on")
        assert box(chat).text == ""


async def test_an_unknown_command_stays_in_the_box_and_the_nearest_is_said(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        await command(chat, "/tehme nord")
        await chat.hinted("There is no command /tehme. Did you mean /theme?")
        assert box(chat).text == "/tehme nord"
        await chat.until(lambda: "is written //tehme." in chat.text())  # the end of a long hint is seen too
        box(chat).clear()
        await command(chat, "/help me")
        await chat.hinted("/help takes nothing after it")


async def test_two_strokes_send_one_and_the_prompt_comes_back_with_both(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("//help me")
        await chat.answered()
        assert chat.screen.conversation.turns[0].prompt == "/help me"
        await chat.pilot.press("up")
        assert box(chat).text == "//help me"


async def test_a_prompt_that_begins_with_a_stroke_is_edited_as_it_is(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("//think")
        await chat.answered()
        await chat.pilot.press("alt+up")
        assert box(chat).text == "/think"
        await chat.pilot.press("enter")
        await chat.answered()
        assert [turn.prompt for turn in chat.screen.conversation.tree] == ["/think", "/think"]
        assert not chat.screen.thinking


async def test_rename_export_and_import_by_command(open_chat: Any, tmp_path: Path) -> None:
    async with open_chat() as chat:
        await command(chat, "/rename Nothing")
        await chat.hinted("nothing to name yet")
        await command(chat, f"/export {tmp_path}")
        await chat.hinted("nothing to export yet")
        await chat.send("echo one")
        await chat.answered()
        await command(chat, "/rename  The   first")
        await chat.hinted("“The first”")
        assert chat.store.load(chat.screen.conversation.id).name == "The first"
        await command(chat, f"/export {tmp_path}")
        await chat.hinted("Written: ")
        assert "echo one" in (tmp_path / "the-first.md").read_text()
        await command(chat, f"/export {tmp_path / 'x.json'}")
        await chat.hinted("x.json")
        await command(chat, f"/export {tmp_path / 'x.pdf'}")
        await chat.hinted("neither in .md nor in .json")
        await command(chat, f"/import {tmp_path / 'x.json'}")
        await chat.hinted("Imported 1 conversation.")
        await command(chat, f"/import {tmp_path / 'none.json'}")
        await chat.hinted("none.json")


async def test_clear_begins_anew_as_people_expect_it(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("echo one")
        await chat.answered()
        await command(chat, "/clear")
        await chat.until(lambda: not chat.screen.conversation.turns)


# ---- palette and themes


async def test_the_palette_finds_actions_shows_their_keys_and_leaves_out_what_cannot_be_done(open_chat: Any) -> None:
    async with open_chat(size=(100, 60), ready=False) as chat:
        await chat.pilot.press("ctrl+p")
        await chat.until(lambda: "Ctrl+N · /new" in chat.text())
        assert "Answer the last prompt again" not in chat.text()
        assert "Stop the answer" not in chat.text()
        await chat.pilot.press(*"thinking on")
        await chat.until(lambda: "Ctrl+T · /think" in chat.text() and "Ctrl+N" not in chat.text())
        await chat.pilot.press("enter")
        await chat.hinted("Thinking is on")


async def test_themes_are_shown_while_chosen_esc_brings_the_old_one_back_enter_keeps(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        before = chat.app.theme
        await command(chat, "/theme")
        await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))
        await chat.pilot.press(*"nord")
        await chat.until(lambda: chat.app.theme == "nord")
        await chat.pilot.press("escape", "escape")
        await chat.until(lambda: chat.app.theme == before)
        assert not settings_path().exists()
        await command(chat, "/theme")
        await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))
        await chat.pilot.press(*"dracula")
        await chat.until(lambda: chat.app.theme == "dracula")
        await chat.pilot.press("enter")
        await chat.until(lambda: load_settings().theme == "dracula")
        await command(chat, "/theme nrod")
        await chat.hinted("Did you mean nord?")
        await command(chat, "/theme nord")
        assert (chat.app.theme, load_settings().theme) == ("nord", "nord")


async def test_a_theme_that_cannot_be_kept_holds_for_this_chat_and_the_file_is_left_alone(open_chat: Any) -> None:
    settings_path().write_text("theme = \n")
    async with open_chat(ready=False) as chat:
        await command(chat, "/theme nord")
        await chat.hinted("cannot be understood")
        assert chat.app.theme == "nord"
    assert settings_path().read_text() == "theme = \n"


# ---- the editor and the terminal


@pytest.fixture
def lent_terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A driver without a terminal cannot be suspended; here it says what it was asked."""
    asked: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    for name in ("suspend_application_mode", "resume_application_mode"):
        monkeypatch.setattr(HeadlessDriver, name, lambda self, name=name: asked.append(name), raising=False)
    return asked


async def test_the_prompt_goes_to_the_editor_and_comes_back_while_the_answer_goes_on(
    open_chat: Any, lent_terminal: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "my editor.py"
    editor.write_text(
        "import pathlib, sys, time\n"
        "path = pathlib.Path(sys.argv[1]); time.sleep(0.5)\n"
        "path.write_text(path.read_text() + ' and\\nmore\\n')\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} '{editor}'")
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 20)
        await chat.write("some")
        length = len(chat.answer)
        await chat.pilot.press("ctrl+e")
        await chat.until(lambda: box(chat).text == "some and\nmore")
        assert lent_terminal == ["suspend_application_mode", "resume_application_mode"]
        assert len(chat.answer) > length
        await chat.pilot.press("escape")
        await chat.answered()


@pytest.mark.parametrize(
    ("command_line", "said"),
    [("no-such-editor", "cannot be started"), ("false", "ended with code 1"), ("vi 'x", "cannot be read as a command")],
)
async def test_an_editor_that_fails_is_told_of_the_terminal_comes_back_and_the_prompt_stays(
    open_chat: Any, lent_terminal: list[str], monkeypatch: pytest.MonkeyPatch, command_line: str, said: str
) -> None:
    monkeypatch.setenv("VISUAL", command_line)
    async with open_chat(ready=False) as chat:
        await chat.write("some")
        await chat.pilot.press("ctrl+e")
        await chat.hinted(said)
        assert box(chat).text == "some"
        assert lent_terminal.count("suspend_application_mode") == lent_terminal.count("resume_application_mode")


async def test_settings_opens_the_file_and_what_was_changed_holds_at_once(
    open_chat: Any, lent_terminal: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        'path.write_text(path.read_text() + \'theme = "nord"\\nkeys.thinking = "f12"\\nnotfy = true\\n\')\n'
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    async with open_chat(size=(120, 40), ready=False) as chat:
        await command(chat, "/settings")
        await chat.until(lambda: chat.app.theme == "nord")
        await chat.until(lambda: "did you mean notify?" in chat.text())
        assert "# [keys]" in settings_path().read_text(), "the example came first"
        await chat.pilot.press("f12")
        assert chat.screen.thinking


def test_a_title_cannot_carry_control_sequences() -> None:
    assert terminal_title("a\x07b\x1b]0;c", ended=True) == "✓ ab]0;c · dspark-chat"
    assert terminal_title("", ended=False) == "dspark-chat"


@pytest.mark.parametrize("notify", [True, False])
async def test_an_answer_that_ends_in_the_background_changes_the_title_and_rings_if_wished(
    open_chat: Any, monkeypatch: pytest.MonkeyPatch, notify: bool
) -> None:
    written: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, data: written.append(data))
    monkeypatch.setattr(App, "bell", lambda self: written.append("bell"))  # Textual rings no terminal it has not got
    async with open_chat(file=ChatFile(notify=notify)) as chat:
        await chat.until(lambda: "\x1b]0;dspark-demo · dspark-chat\x07" in written)
        # A key says that somebody is there, so they leave when the first word comes.
        chat.screen.observers.append(lambda event: setattr(chat.app, "app_focus", False))
        await chat.send("hello")
        await chat.until(lambda: "\x1b]0;✓ dspark-demo · dspark-chat\x07" in written)
        assert ("bell" in written) == notify
        written.clear()
        chat.screen.observers.pop()
        chat.app.app_focus = True
        await chat.until(lambda: "\x1b]0;dspark-demo · dspark-chat\x07" in written)
