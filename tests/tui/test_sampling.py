"""The screen of system prompt and sampling, its commands, and what reaches the engine of them."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import Input, OptionList, TextArea

from dspark_tui.sampling_screen import SamplingScreen
from dspark_tui.settings_file import ChatFile, Preset, load_settings, save_settings
from tests.tui.fake_engine import FakeBackend


async def open_sampling(chat: Any) -> SamplingScreen:
    await chat.pilot.press("ctrl+s")
    await chat.until(lambda: isinstance(chat.app.screen, SamplingScreen) and bool(chat.app.screen.query(Input)))
    return chat.app.screen  # type: ignore[no-any-return]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_what_is_filled_in_reaches_the_engine_with_every_field_and_is_stored(
    open_chat: Any, engine: tuple[str, FakeBackend], size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        screen = await open_sampling(chat)
        await chat.until(lambda: "effort" in chat.text() and "Save as preset" in chat.text())
        screen.query_one(TextArea).text = "Answer in rhymes."
        values = ("0.3", "0.9", "40", "0.05", "1.1", "99", "7", "on", "max")
        for box, value in zip(screen.query(Input), values, strict=True):
            box.value = value
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: "temp 0.3" in chat.text())
        await chat.send("echo hello")
        await chat.answered()
        request = engine[1].requests[-1]
        assert [(m.role, m.content) for m in request.messages] == [
            ("system", "Answer in rhymes."),
            ("user", "echo hello"),
        ]
        sampling = request.sampling
        assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.3, 0.9, 40, 0.05)
        assert (sampling.repetition_penalty, sampling.max_tokens, sampling.seed) == (1.1, 99, 7)
        assert (request.thinking, request.reasoning_effort) == ("thinking", "max")
        assert chat.saved() == chat.screen.conversation
        assert chat.saved().settings["system_prompt"] == "Answer in rhymes."
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: "temp 0.3" not in chat.text())


async def test_a_wrong_value_is_named_and_nothing_changes_until_it_is_mended(open_chat: Any) -> None:
    async with open_chat() as chat:
        screen = await open_sampling(chat)
        box = screen.query(Input).first()
        box.value = "9"
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: "temperature 9" in chat.text())
        assert chat.app.focused is box
        await chat.pilot.press("escape")
        await chat.until(lambda: not isinstance(chat.app.screen, SamplingScreen))
        assert "temperature" not in chat.screen.conversation.settings


async def test_a_preset_is_saved_by_name_chosen_in_the_list_and_deleted(open_chat: Any) -> None:
    async with open_chat() as chat:
        screen = await open_sampling(chat)
        screen.query_one(TextArea).text = "Be brief."
        await chat.pilot.press("f2")
        await chat.until(lambda: "Save as" in chat.text())
        await chat.pilot.press(*"brief", "enter")
        await chat.until(lambda: "Saved as brief" in chat.text())
        assert load_settings().presets["brief"].system_prompt == "Be brief."
        screen.query_one(TextArea).text = ""
        choices = screen.query_one(OptionList)
        choices.focus()
        choices.highlighted = 1
        await chat.pilot.press("enter")
        await chat.until(lambda: screen.query_one(TextArea).text == "Be brief.")
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: chat.screen.conversation.settings.get("preset") == "brief")
        screen = await open_sampling(chat)
        await chat.pilot.press("f8")
        await chat.until(lambda: "brief is deleted" in chat.text())
        assert load_settings().presets == {}


async def test_commands_set_one_value_each_and_say_what_holds(open_chat: Any) -> None:
    save_settings({"presets": {"poet": Preset(system_prompt="Rhyme.", temperature=1.2)}})
    async with open_chat() as chat:
        settings = chat.screen.conversation.settings
        for command, said in (
            ("/temp 0.5", "temp 0.5"),
            ("/system You are brief.", "“You are brief.”"),
            ("/seed x", "seed is a number"),
            ("/preset none", "There are: poet"),
            ("/preset poet", "Preset poet: poet · temp 1.2"),
        ):
            await chat.write(command)
            await chat.pilot.press("enter")
            await chat.hinted(said)
        assert settings == {"system_prompt": "Rhyme.", "temperature": 1.2, "preset": "poet"}
        await chat.until(lambda: "Ctrl+S poet · temp 1.2" in chat.text())


async def test_the_default_preset_holds_for_new_conversations_and_the_command_line_wins(
    open_chat: Any, engine: tuple[str, FakeBackend]
) -> None:
    file = ChatFile(presets={"calm": Preset(temperature=0.2, thinking=True, top_k=5)}, default_preset="calm")
    async with open_chat(temperature=0.9, file=file) as chat:
        await chat.send("echo one")
        await chat.answered()
        request = engine[1].requests[-1]
        assert (request.sampling.temperature, request.sampling.top_k, request.thinking) == (0.9, 5, "thinking")
