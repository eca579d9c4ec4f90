"""Choosing and copying pieces of a conversation."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from textual.app import App, ComposeResult

from dspark_tui import clipboard
from dspark_tui.blocks import blocks_of, last_code
from dspark_tui.blocks_cursor import BlockCursor
from dspark_tui.conversation import Conversation
from dspark_tui.widgets.chat_markdown import ChatMarkdown, CopyMark
from tests.tui.fake_engine import ANSWER

CODE = "def accepted_length(tokens: int, passes: int) -> float:\n    return tokens / passes"
TABLE = "| setting | tokens per pass |\n|---|---|\n| off | 1.0 |\n| auto | 3.4 |"


def answered(answer: str) -> Conversation:
    conversation = Conversation()
    turn = conversation.begin("my question")
    turn.answer, turn.state = answer, "complete"
    return conversation


def test_blocks_are_prompt_answer_and_its_fences_and_tables_in_reading_order() -> None:
    blocks = blocks_of(answered(ANSWER).turns)
    assert [(block.kind, block.text) for block in blocks] == [
        ("prompt", "my question"),
        ("answer", ANSWER),
        ("code", CODE),
        ("table", TABLE),
    ]
    assert [block.label for block in blocks[2:]] == ["python code, 2 lines", "table, 4 lines"]


@pytest.mark.parametrize("fence", ["```", "~~~~", "- x\n\n````"])
def test_a_fence_gives_its_code_as_a_markdown_parser_reads_it(fence: str) -> None:
    text = f"{fence}\n  a\n\n     b\n"
    block = last_code(answered(text).turns)
    assert block is not None
    (token,) = (token for token in MarkdownIt().parse(text) if token.type == "fence")
    assert block.text + "\n" == token.content


async def test_the_block_cursor_begins_at_the_last_part_of_the_newest_answer_and_copies_what_is_chosen(
    open_chat: Any,
) -> None:
    async with open_chat(size=(100, 40)) as chat:
        await chat.pilot.press("ctrl+k")
        await chat.hinted("nothing to copy yet")
        await chat.send("hello")
        await chat.answered()
        await chat.pilot.press("ctrl+k")
        await chat.until(lambda: "table, 4 lines · ↑↓ choose" in chat.text())
        assert chat.screen.query_one("MarkdownTable").has_class("-chosen-block")
        await chat.pilot.press("up")
        await chat.until(lambda: "python code, 2 lines" in chat.text())
        assert not chat.screen.query_one("MarkdownTable").has_class("-chosen-block")
        assert chat.screen.query_one("ChatFence").has_class("-chosen-block")
        await chat.pilot.press("c")
        await chat.until(lambda: chat.app.clipboard == CODE)
        await chat.hinted("Sent 2 lines to the terminal's clipboard")
        assert not chat.screen.query(BlockCursor)
        assert not chat.screen.query(".-chosen-block")
        await chat.until(lambda: chat.app.focused is chat.screen._composer)
        await chat.pilot.press("ctrl+k", "up", "up", "up", "up", "up", "enter")
        await chat.until(lambda: chat.app.clipboard == "hello")
        await chat.until(lambda: chat.screen._above_box.size.height == 0)


async def test_esc_leaves_the_cursor_without_stopping_the_answer_and_letters_go_to_the_box(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 50)
        await chat.pilot.press("ctrl+k")
        await chat.until(lambda: isinstance(chat.app.focused, BlockCursor))
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.focused is chat.screen._composer)
        assert chat.busy
        await chat.pilot.press("ctrl+k")
        await chat.until(lambda: isinstance(chat.app.focused, BlockCursor))
        await chat.pilot.press("w")
        await chat.until(lambda: not chat.screen.query(BlockCursor))
        assert chat.screen._composer.text == "w"
        await chat.pilot.press("escape")
        await chat.answered()


async def test_code_is_copied_by_a_command_and_by_a_click_on_its_corner(open_chat: Any) -> None:
    async with open_chat(size=(100, 40)) as chat:
        chat.screen.action_copy_code()
        await chat.hinted("no code block")
        await chat.send("hello")
        await chat.answered()
        chat.screen.action_copy_code()
        await chat.until(lambda: chat.app.clipboard == CODE)
        chat.app._clipboard = ""
        await chat.until(lambda: "python · copy" in chat.text())
        await chat.pilot.click(CopyMark)
        await chat.until(lambda: chat.app.clipboard == CODE)


async def test_what_is_more_than_terminals_take_is_written_to_a_file_that_is_named(
    open_chat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_chat(size=(140, 30)) as chat:
        turn = chat.screen.conversation.begin("x")
        turn.answer = "long " * 20_000
        chat.screen.action_copy_answer()
        await chat.hinted("100 kB are more than terminals take: /copy file")
        assert chat.app.clipboard == ""
        for name in ("answer.md", "answer-2.md"):
            chat.screen.slash_copy("file")
            await chat.hinted(f"Written: {tmp_path / name}")
            assert (tmp_path / name).read_text() == turn.answer
        chat.screen.slash_copy(str(tmp_path / "none" / "x.md"))
        await chat.hinted("cannot be written: No such file")


def test_a_screen_gets_the_sequence_in_wrapped_pieces_that_give_it_whole() -> None:
    text = "Grüße " * 200
    pieces = re.findall(r"\x1bP(.*?)\x1b\\", clipboard.screen_sequence(text), re.DOTALL)
    assert max(map(len, pieces)) < 256
    encoded = re.fullmatch("\x1b\\]52;c;(.*)\a", "".join(pieces))
    assert encoded is not None
    assert base64.b64decode(encoded[1]).decode() == text


@pytest.mark.parametrize(
    ("environment", "platform", "has"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a"}, "linux", False),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "x"}, "darwin", False),
    ],
)
def test_the_own_clipboard_is_used_only_by_somebody_at_this_computer(
    environment: dict[str, str], platform: str, has: bool
) -> None:
    assert clipboard.has_own_clipboard(environment, platform) is has


async def test_inside_tmux_the_text_is_in_its_buffer(
    open_chat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = tmp_path / "got"
    (tmp_path / "tmux").write_text(f'#!/bin/sh\necho "$@" > {got}\ncat >> {got}\n')
    (tmp_path / "tmux").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "/tmp/x,1,0")
    async with open_chat() as chat:
        chat.screen.copy("some text")
        await chat.hinted("Sent 9 characters")
        assert got.read_text() == "load-buffer -w -\nsome text"


MIXED = """1. one with **bold** and a text that is long enough to be wrapped
2. two
   - inner that is long enough to be wrapped as well, or so

* with code
  ```
  x = 1
  ```

| key | what it means |
|:---|---|
| 世界 | a long text that has to be wrapped in a narrow window, and *ends here* |
| `k` | [link](https://example.org) |
"""


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield ChatMarkdown()


@pytest.mark.parametrize("width", [24, 40, 120])
async def test_lists_and_tables_are_drawn_whole_within_any_width(width: int) -> None:
    async with Page().run_test(size=(width, 60)) as pilot:
        shown = pilot.app.query_one(ChatMarkdown)
        await shown.update(MIXED)
        await pilot.pause()
        strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
        lines = ["".join(segment.text for segment in strip) for strip in strips]
        words = re.sub(r"[^\w]+", "", "".join(lines).replace("copy", ""))
        for word in ("wrapped", "inner", "世界", "link", "here", "key", "x1"):
            assert word in words
        assert max(cell_len(line) for line in lines) == width
        texts = [line for line in lines if "wrapped" in line or "inner" in line]
        if width == 40:
            assert any(re.match(r"^ {6}\S", line) for line in lines), "wrapped text stays right of its number"
        assert texts
        assert [type(block).__name__ for block in shown.children] == [
            "ChatOrderedList",
            "ChatBulletList",
            "ChatTable",
        ]
        assert len(shown.children[0].children) == len(shown.children[2].children) == 0


async def test_text_in_lists_and_tables_is_selected_like_any_other() -> None:
    async with Page().run_test(size=(60, 40)) as pilot:
        await pilot.app.query_one(ChatMarkdown).update(MIXED)
        await pilot.pause()
        pilot.app.screen.text_select_all()
        await pilot.pause()
        selected = pilot.app.screen.get_selected_text() or ""
        for words in ("one with bold", "inner that is long", "世界", "ends here"):
            assert words in selected


async def test_what_streams_is_drawn_as_what_is_opened_again(open_chat: Any) -> None:
    async with open_chat(size=(100, 60)) as chat:
        await chat.send(f"echo {MIXED.strip()}")
        await chat.answered()
        await chat.until(lambda: "ends here" in chat.text() and "**bold**" not in chat.text().partition("echo")[0])
        live = [type(block).__name__ for block in chat.screen.query("ChatMarkdown > *")]
        opened = chat.saved()
        await chat.screen._enter(opened)
        await chat.pilot.pause()
        assert [type(block).__name__ for block in chat.screen.query("ChatMarkdown > *")] == live
