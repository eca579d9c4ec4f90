"""Conversations from other programs, and ours as files for people."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from dspark_local.errors import UsageError
from dspark_tui.conversation import Conversation
from dspark_tui.export import export, export_path, to_markdown
from dspark_tui.importing import Imported, read_conversations

LIST = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi", "reasoning_content": "greet"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "What"}, {"type": "image_url"}, {"type": "text", "text": "is?"}],
    },
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
    {"role": "tool", "content": "42"},
    {"role": "assistant", "content": "It is 42."},
    {"role": "user", "content": "And now?"},
]
TURNS = [("Hello", "Hi"), ("What\n\nis?", "It is 42."), ("And now?", "")]


def read(tmp_path: Path, data: Any, name: str = "some.json") -> Imported:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return read_conversations(path)


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [(turn.prompt, turn.answer) for turn in conversation.turns]


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (LIST, "some"),
        ({"messages": LIST, "title": "Mine", "model": "m"}, "Mine"),
        ([{"messages": LIST, "title": "Mine"}], "Mine"),
        ({"conversations": [{"messages": LIST}]}, "Hello"),
        ("\ufeff" + json.dumps(LIST), "some"),
    ],
    ids=["list", "object", "objects", "wrapped", "byte order mark"],
)
def test_openai_style_messages_are_taken_in_with_system_prompt_and_reasoning(
    tmp_path: Path, data: Any, title: str
) -> None:
    imported = read(tmp_path, data)
    (conversation,) = imported.conversations
    assert said(conversation) == TURNS
    assert conversation.turns[0].reasoning == "greet"
    assert [turn.state for turn in conversation.turns] == ["complete", "complete", "stopped"]
    assert imported.left_out == 3, "an image, a tool call, a tool message"
    assert conversation.title == title
    assert [(message.role, message.content) for message in conversation.messages()] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "What\n\nis?"),
        ("assistant", "It is 42."),
        ("user", "And now?"),
    ]


def test_a_file_of_json_lines_holds_one_conversation_a_line(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"messages": LIST[1:3]}) for _ in range(3)) + "\n"
    imported = read(tmp_path, lines, "train.jsonl")
    assert [said(one) for one in imported.conversations] == [[("Hello", "Hi")]] * 3
    assert len({one.id for one in imported.conversations}) == 3


def test_chatgpts_export_gives_the_visible_path_with_titles_and_times(tmp_path: Path) -> None:
    def node(parent: str | None, role: str, text: str, **message: Any) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [text]}
        return {"parent": parent, "message": {"author": {"role": role}, "content": content, **message}}

    hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
    mapping = {
        "root": {"parent": None, "message": None},
        "s": node("root", "system", "About the person", **hidden),
        "q": node("s", "user", "Question"),
        "a1": node("q", "assistant", "old answer"),
        "a2": node("q", "assistant", "new answer", create_time=7.0),
    }
    data = [{"title": "From there", "create_time": 5.0, "mapping": mapping, "current_node": "a2"}]
    (conversation,) = read(tmp_path, data).conversations
    assert (conversation.title, conversation.created_at) == ("From there", 5.0)
    assert said(conversation) == [("Question", "new answer")]
    assert conversation.settings == {}
    assert conversation.turns[0].started_at == 7.0


def test_sharegpts_names_are_known(tmp_path: Path) -> None:
    data = [{"id": "x", "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}]
    assert [said(one) for one in read(tmp_path, data).conversations] == [[("Q", "A")]]


WRONG = ["", "{", "[]", "{}", "3", "[1, 2]", '[{"role": "user", "content": 3}]', '{"messages": []}', "[" * 100_000]
WRONG += ['[{"role": "tool", "content": "x"}]', '{"format": 2, "id": "x"}', '{"mapping": {"a": 1}}']
WRONG += ['{"mapping": {"a": {"parent": "a", "message": {"content": []}}}}', '[{"role": "user"}, 5]']


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_holds_no_conversation_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"some\.json holds no conversation"):
        read(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(UsageError, match="holds no conversation: it is no text file"):
        read_conversations(path)


def test_a_file_that_is_missing_or_no_json_is_told_of_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no file .*gone\.json\. Check the path\."):
        read_conversations(tmp_path / "gone.json")
    with pytest.raises(UsageError, match=r"it is no JSON \(line 2, column 1\)"):
        read(tmp_path, '{"messages":\nexport')
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_conversations(tmp_path)


def whole() -> Conversation:
    conversation = Conversation(created_at=0.0, model="dspark-demo", name="A / strange: *title*")
    conversation.settings["system_prompt"] = "Be brief."
    turn = conversation.begin("What?")
    turn.reasoning, turn.answer, turn.state = "hm\n\nso", "Half an", "stopped"
    return conversation


def test_markdown_shows_title_model_reasoning_and_how_an_answer_ended() -> None:
    lines = to_markdown(whole()).splitlines()
    assert lines[0] == "# A / strange: *title*"
    assert lines[2].endswith(" · dspark-demo")
    assert "\n".join(lines[4:]) == (
        "## System\n\nBe brief.\n\n## You\n\nWhat?\n\n## Model\n\n> hm\n>\n> so\n\nHalf an\n\n*(stopped)*"
    )


def test_an_export_is_named_after_the_title_private_and_never_overwrites(tmp_path: Path) -> None:
    paths = [export(whole(), export_path(tmp_path, whole())) for _ in range(2)]
    assert [path.name for path in paths] == ["a-strange-title.md", "a-strange-title-2.md"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    with pytest.raises(UsageError, match="exists already"):
        export(whole(), paths[0])
    with pytest.raises(UsageError, match=r"neither in \.md nor in \.json"):
        export(whole(), tmp_path / "x.txt")
    with pytest.raises(UsageError, match=r"x\.md cannot be written: there is no such folder\."):
        export(whole(), tmp_path / "missing" / "x.md")
