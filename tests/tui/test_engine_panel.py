"""The engine panel in the running chat."""

from __future__ import annotations

import asyncio

import pytest
from rich.color import Color
from textual.content import Content
from textual.widgets import Static

from dspark_tui.engine_panel_text import STYLES
from dspark_tui.widgets.panel_view import EnginePanel
from tests.tui.conftest import Chat, OpenChat
from tests.tui.fake_engine import ANSWER
from tests.tui.snapshots.picture import contrast


def panel_of(chat: Chat) -> EnginePanel:
    panel = chat.screen.engine_panel
    assert panel is not None
    return panel


def shown(chat: Chat, name: str) -> str:
    content = panel_of(chat).query_one(f"#panel-{name}", Static).content
    assert isinstance(content, Content)
    return content.plain


async def opened(chat: Chat) -> None:
    await chat.pilot.press("f9")
    await chat.until(lambda: bool(panel_of(chat).drawings))


async def test_one_key_shows_the_panel_beside_a_wide_chat_and_hides_it(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 40)) as chat:
        await opened(chat)
        panel = panel_of(chat)
        assert panel.region.x >= 60
        assert panel.region.right == 120
        assert chat.screen._messages.region.right <= panel.region.x
        assert chat.screen.focused is chat.screen._composer
        await chat.pilot.press("f9")
        assert chat.screen.engine_panel is None
        assert chat.screen._messages.region.right > 110


async def test_on_a_small_screen_it_lies_over_the_messages_and_leaves_the_box_in_reach(open_chat: OpenChat) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await opened(chat)
        panel = panel_of(chat)
        assert panel.region.width == 80
        assert panel.region.bottom <= chat.screen._composer.region.y
        await chat.send("hello")
        await chat.answered()
        await chat.until(lambda: "1 answer" in shown(chat, "session"))
        for words in ("drafted", "copied", "Speculation", "tokens a pass", "Memory", "Session"):
            assert words in chat.text(), words


async def test_it_moves_when_the_terminal_is_resized(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 40)) as chat:
        await opened(chat)
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: panel_of(chat).region.width == 80)
        await chat.pilot.resize_terminal(200, 60)
        await chat.until(lambda: panel_of(chat).region.x > 100)


async def test_the_answer_stands_there_word_for_word_in_the_colours_of_its_sources(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 60)) as chat:
        await opened(chat)
        await chat.send("hello")
        await chat.answered()
        await chat.until(lambda: shown(chat, "tokens") == ANSWER)
        content = panel_of(chat).query_one("#panel-tokens", Static).content
        assert isinstance(content, Content)
        styles = [str(span.style) for span in content.spans]
        assert set(styles) == set(STYLES.values())
        # The script's first pass: three drafts kept, then the target's own token.
        words = [content.plain[span.start : span.end] for span in content.spans]
        assert (styles[0], words[0]) == (STYLES["draft"], "Speculative decoding lets")
        assert (styles[1], words[1]) == (STYLES["own"], " a")


async def test_an_answer_given_before_it_was_opened_is_there(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 60)) as chat:
        await chat.send("hello")
        await chat.answered()
        await opened(chat)
        await chat.until(lambda: shown(chat, "tokens") == ANSWER)
        speculation = shown(chat, "speculation")
        assert "on, 2 of 5, +18 %" in speculation
        assert "20% drafting, 80% verifying" in speculation


async def test_it_is_drawn_at_most_four_times_a_second_and_not_at_all_when_nothing_happens(
    open_chat: OpenChat,
) -> None:
    async with open_chat(size=(120, 40)) as chat:
        await opened(chat)
        await chat.send("endless")
        panel = panel_of(chat)
        await chat.until(lambda: panel._figures.answer.passes > 5)
        before = panel.drawings
        await asyncio.sleep(1.0)
        assert 1 <= panel.drawings - before <= 5
        await chat.pilot.press("escape")
        await chat.answered()
        await asyncio.sleep(0.4)
        before = panel.drawings
        await asyncio.sleep(0.6)
        assert panel.drawings == before


async def test_a_stopped_answer_counts_in_the_session(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 40)) as chat:
        await opened(chat)
        await chat.send("endless")
        await chat.until(lambda: panel_of(chat)._figures.answer.passes > 5)
        await chat.pilot.press("escape")
        await chat.answered()
        stopped = panel_of(chat)._figures.tokens
        assert stopped > 10
        await chat.send("hello")
        await chat.answered()
        await chat.until(lambda: "2 answers" in shown(chat, "session"))
        assert panel_of(chat)._figures.tokens > stopped


async def test_a_server_that_tells_nothing_is_said_to_tell_nothing(open_chat: OpenChat) -> None:
    # The test's engine has no operations, so no facts: what is asked for and never told.
    async with open_chat(size=(120, 40)) as chat:
        await opened(chat)
        assert "Memory" in shown(chat, "memory")
        assert "GiB" not in shown(chat, "memory")


@pytest.fixture
def without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.usefixtures("without_colours")
async def test_sources_can_be_told_apart_without_colours(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 60)) as chat:
        await opened(chat)
        await chat.pilot.pause(0.1)
        looks = {}
        for strip in chat.app.screen._compositor.render_strips(chat.app.size):
            for segment in strip:
                for name in ("drafted", "copied", "own"):
                    if segment.text == name and segment.style is not None:
                        looks[name] = (bool(segment.style.bold), bool(segment.style.underline))
        assert len(looks) == 3
        assert len(set(looks.values())) == 3


async def test_the_end_of_a_long_answer_is_followed(open_chat: OpenChat) -> None:
    async with open_chat(size=(120, 30)) as chat:
        await opened(chat)
        await chat.send("endless")
        await chat.until(lambda: panel_of(chat).query_one("#panel-answer").max_scroll_y > 5)
        await chat.pilot.press("escape")
        await chat.answered()
        await chat.until(lambda: panel_of(chat).query_one("#panel-answer").is_vertical_scroll_end)


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
async def test_every_source_can_be_read_in_dark_and_light(open_chat: OpenChat, theme: str) -> None:
    async with open_chat(size=(120, 40)) as chat:
        chat.app.theme = theme
        await opened(chat)
        await chat.pilot.pause(0.1)
        ratios = {}
        for strip in chat.app.screen._compositor.render_strips(chat.app.size):
            for segment in strip:
                if segment.text in ("drafted", "copied", "own") and segment.style is not None:
                    ratios[segment.text] = contrast(f"{hex_of(segment.style.color)} on {hex_of(segment.style.bgcolor)}")
        assert len(ratios) == 3
        # Most of the text is drafted; copies are underlined besides, and the light theme's green is what it is.
        assert min(ratios["drafted"], ratios["own"]) >= 4.5, ratios
        assert ratios["copied"] >= 3, ratios


def hex_of(colour: Color | None) -> str:
    assert colour is not None
    return colour.get_truecolor().hex
