"""Text files with a prompt: read or refused in words, shown folded, sent in a fence, kept everywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dspark_local.errors import UsageError
from dspark_tui.attachments import (
    MAX_BYTES,
    Attachment,
    completions,
    dropped_path,
    mentioned_paths,
    read_attachment,
    with_files,
)
from dspark_tui.export import to_markdown
from dspark_tui.store_records import from_json, to_json
from dspark_tui.widgets.attachment_chips import AttachmentChip, chip_text
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.messages import UserMessage
from tests.tui.fake_engine import FakeBackend


def box(chat: Any) -> Composer:
    return chat.screen.query_one(Composer)  # type: ignore[no-any-return]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "work"
    (here / "source code").mkdir(parents=True)
    (here / "notes.txt").write_text("Grüße\nline two\n", encoding="utf-8")
    (here / "notes2.md").write_text("# second\n", encoding="utf-8")
    (here / "source code" / "main.py").write_text("print(1)\n", encoding="utf-8")
    (here / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    monkeypatch.chdir(here)
    return here


def test_text_is_read_whatever_its_usual_encoding(folder: Path) -> None:
    (folder / "wide.txt").write_text("Grüße", encoding="utf-16")
    (folder / "marked.txt").write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\r\n")
    assert read_attachment(folder / "notes.txt") == Attachment("notes.txt", "Grüße\nline two\n")
    assert read_attachment(folder / "wide.txt").text == "Grüße"
    assert read_attachment(folder / "marked.txt").text == "Grüße\n"


def test_what_cannot_be_attached_is_refused_in_words(folder: Path) -> None:
    (folder / "empty.txt").write_text("\n")
    os.mkfifo(folder / "pipe")
    with (folder / "huge.txt").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    for name, words in (
        ("picture.png", "is no text file"),
        ("source code", "is a directory"),
        ("missing.txt", "There is no file"),
        ("empty.txt", "is empty"),
        ("pipe", "is no regular file"),
        ("huge.txt", "at most 4.2 MB"),
        ("notes.txt/below", "cannot be read: Not a directory"),
    ):
        with pytest.raises(UsageError, match=words):
            read_attachment(folder / name)


def test_no_text_can_close_the_fence_that_it_stands_in() -> None:
    text = "a\n````\nb\n```"
    assert with_files("What is it?", (Attachment("x.md", text),)) == (f"x.md:\n`````md\n{text}\n`````\n\nWhat is it?")
    assert with_files("alone", ()) == "alone"


def test_mentions_are_words_that_begin_with_an_at_sign() -> None:
    assert mentioned_paths('see @a.txt and @"b c.md", me@here.org @a.txt\n@d') == ["a.txt", "b c.md", "d"]


def test_a_dragged_file_is_known_in_every_form_that_terminals_paste(folder: Path) -> None:
    path = folder / "source code" / "main.py"
    escaped = str(path).replace(" ", "\\ ")
    for text in (str(path), f"'{path}'", f'"{path}" ', escaped, path.as_uri()):
        assert dropped_path(text) == path, text
    for text in ("notes.txt", str(folder), "/no/such/file", "/", f"{path}\n{path}", ""):
        assert dropped_path(text) is None, text


def test_paths_complete_hidden_ones_only_on_a_dot(folder: Path) -> None:
    (folder / ".hidden").touch()
    assert completions("no") == ["notes.txt", "notes2.md"]
    assert completions("source code/") == ["source code/main.py"]
    assert completions("s") == ["source code/"]
    assert completions(".h") == [".hidden"]
    assert ".hidden" not in completions("")
    assert completions("nowhere/x") == []


def test_a_chip_tells_an_estimate_from_a_count_and_what_does_not_fit() -> None:
    one = Attachment("a.txt", "x" * 3600)
    assert chip_text(one, None, 0) == "a.txt · 3.6 kB · ~1,000 tokens"
    assert chip_text(one, 512, 2048) == "a.txt · 3.6 kB · 512 tokens · 25% of the context"
    assert chip_text(one, 3000, 2048).endswith("does not fit into the context of 2,048")


async def test_a_file_goes_with_the_prompt_stays_folded_and_is_kept_through_edit_and_regenerate(
    open_chat: Any, engine: tuple[str, FakeBackend], folder: Path
) -> None:
    async with open_chat(size=(100, 40)) as chat:
        await chat.write("/file notes.txt")
        await chat.pilot.press("enter")
        await chat.until(lambda: "✕ notes.txt · 17 B · 15 tokens · under 1% of the context" in chat.text())
        await chat.send("echo read it")
        await chat.answered()
        assert not chat.screen.query(AttachmentChip)
        sent = "notes.txt:\n```txt\nGrüße\nline two\n```\n\necho read it"
        assert engine[1].requests[-1].messages[-1].content == sent
        await chat.until(lambda: "▸ notes.txt · 17 B" in chat.text() and "Grüße" not in chat.text())
        await chat.pilot.click(UserMessage)
        await chat.until(lambda: "▾ notes.txt" in chat.text() and "line two" in chat.text())
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 2 and not chat.busy)
        assert engine[1].requests[-1].messages[-1].content == sent
        await chat.pilot.press("alt+up")
        await chat.until(lambda: bool(chat.screen.query(AttachmentChip)))
        box(chat).text = "echo edited"
        await chat.pilot.press("enter")
        await chat.until(lambda: len(chat.screen.conversation.tree) == 3 and not chat.busy)
        assert engine[1].requests[-1].messages[-1].content == sent.replace("read it", "edited")
        await chat.until(lambda: not chat.screen.query(AttachmentChip))
        conversation = chat.screen.conversation
        assert chat.saved() == conversation
        assert from_json(json.loads(to_json(conversation))) == conversation
        assert "```txt\nGrüße\nline two\n```" in to_markdown(conversation)
        assert conversation.title == "echo read it"


async def test_a_mentioned_file_is_completed_by_tab_and_attached_on_sending(
    open_chat: Any, engine: tuple[str, FakeBackend], folder: Path
) -> None:
    async with open_chat() as chat:
        await chat.write("echo @no")
        await chat.pilot.press("tab")
        await chat.until(lambda: box(chat).text == "echo @notes")
        await chat.hinted("notes.txt  notes2.md")
        await chat.pilot.press("2", "tab")
        await chat.until(lambda: box(chat).text == "echo @notes2.md ")
        await chat.write("@so")
        await chat.pilot.press("tab")
        await chat.until(lambda: box(chat).text.endswith('@"source code/'))
        await chat.pilot.press("tab")
        await chat.until(lambda: box(chat).text.endswith('@"source code/main.py" '))
        await chat.pilot.press("enter")
        await chat.answered()
        files = chat.screen.conversation.turns[0].attachments
        assert [one.name for one in files] == ["notes2.md", "main.py"]


async def test_a_mention_that_cannot_be_read_keeps_the_prompt_in_the_box(open_chat: Any, folder: Path) -> None:
    async with open_chat() as chat:
        await chat.send("echo @picture.png")
        await chat.hinted("is no text file")
        assert box(chat).text == "echo @picture.png"
        assert chat.screen.conversation.turns == []


async def test_a_mention_of_no_file_is_sent_as_it_is_written_and_told_of_then(open_chat: Any, folder: Path) -> None:
    async with open_chat() as chat:
        await chat.send("echo @notes.text")
        await chat.until(lambda: "@notes.text is no file here; it is sent as written." in chat.text())
        assert chat.screen.conversation.turns[0].prompt == "echo @notes.text"


async def test_a_pasted_path_of_a_file_becomes_an_attachment_and_other_text_stays_text(
    open_chat: Any, folder: Path
) -> None:
    async with open_chat() as chat:
        await chat.write("look: ")
        await chat.write(f"'{folder / 'source code' / 'main.py'}'")
        await chat.until(lambda: [one.name for one in chat.screen.files] == ["main.py"])
        assert box(chat).text == "look: "
        await chat.write("/no/such/file")
        assert box(chat).text == "look: /no/such/file"
        await chat.until(lambda: bool(chat.screen.query(AttachmentChip)))
        chat.screen.query(AttachmentChip).first().focus()
        await chat.pilot.press("x")
        await chat.until(lambda: chat.screen.files == [])


async def test_what_cannot_fit_is_said_on_the_chip_and_not_sent(open_chat: Any, folder: Path) -> None:
    (folder / "long.txt").write_text("word " * 600)
    async with open_chat(size=(100, 30)) as chat:
        await chat.screen.attach(folder / "long.txt")
        await chat.until(lambda: "3,000 tokens · does not fit into the context of 2,048" in chat.text())
        await chat.send("echo too much")
        await chat.hinted("Not sent: the files have 3,000 tokens")
        assert box(chat).text == "echo too much"


async def test_a_queued_prompt_carries_its_files_and_a_refused_one_gives_them_back(
    open_chat: Any, engine: tuple[str, FakeBackend], folder: Path
) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 0)
        await chat.screen.attach(folder / "notes.txt")
        await chat.send("a fault")
        await chat.until(lambda: len(chat.screen.queue) == 1 and chat.screen.files == [])
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.screen.is_paused and not chat.busy)
        await chat.pilot.press("enter")
        await chat.until(lambda: "a wire came loose" in chat.text())
        await chat.until(
            lambda: box(chat).text == "a fault" and [one.name for one in chat.screen.files] == ["notes.txt"]
        )
