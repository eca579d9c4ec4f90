"""Conversations in the database: saved as they are, branches and all, whatever happens to the file."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspark_local.errors import DsparkError
from dspark_tui import store_schema
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.importing_legacy import import_legacy
from dspark_tui.store import ConversationStore
from dspark_tui.store_records import from_json, to_json
from dspark_tui.store_search import LIST_LIMIT, latest, search


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "conversations.db"


@pytest.fixture
def store(path: Path) -> Iterator[ConversationStore]:
    store = ConversationStore(path)
    yield store
    store.close()


def answered(turn: Turn, answer: str) -> Turn:
    turn.answer, turn.state = answer, "complete"
    return turn


def said(*prompts: str, at: float = 1000.0) -> Conversation:
    conversation = Conversation(created_at=at, model="m")
    for number, prompt in enumerate(prompts):
        answered(conversation.begin(prompt), f"answer to {prompt}").started_at = at + number
    return conversation


def branched() -> Conversation:
    conversation = said("one", "two", "three")
    answered(conversation.regenerate(conversation.turns[1]), "another two")
    answered(conversation.begin("after another two"), "yes")
    answered(conversation.edit(conversation.turns[1], "two, edited"), "edited")
    conversation.select(conversation.tree[3])
    return conversation


def test_a_conversation_with_branches_survives_the_disk_and_is_private(store: ConversationStore, path: Path) -> None:
    conversation = branched()
    conversation.name, conversation.settings = "Grüße 世界 [b]", {"thinking": True, "temperature": None}
    turn = conversation.turns[0]
    turn.reasoning, turn.state, turn.thinking_seconds, turn.completion_tokens = "hm", "stopped", 1.5, 12
    store.save(conversation)
    loaded = ConversationStore(path).load(conversation.id)
    assert loaded == conversation
    assert [turn.prompt for turn in loaded.turns] == ["one", "two", "after another two"]
    assert [len(loaded.versions(turn)) for turn in loaded.turns] == [1, 3, 1]
    for name in ("", "-wal", "-shm"):
        assert stat.S_IMODE(path.with_name(path.name + name).stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_withdrawn_version_leaves_no_trace_and_the_path_is_what_it_was(store: ConversationStore) -> None:
    conversation = said("one", "two", "three")
    shown = list(conversation.turns)
    store.save(conversation)
    for make in (lambda: conversation.edit(shown[1], "other"), lambda: conversation.regenerate(shown[0])):
        turn = make()
        store.save(conversation)
        conversation.withdraw(turn)
        store.save(conversation)
        assert conversation.turns == shown
        assert store.load(conversation.id) == conversation
        (messages,) = store.database.execute("SELECT count(*) FROM messages").fetchone()
        assert messages == 6


def test_a_conversation_without_turns_is_not_in_the_list(store: ConversationStore) -> None:
    conversation = Conversation()
    turn = conversation.begin("x")
    store.save(conversation)
    assert search(store).total == 1
    conversation.withdraw(turn)
    store.save(conversation)
    assert search(store).total == 0


def test_an_answer_that_a_kill_cut_off_is_there_up_to_the_last_save_and_counts_as_interrupted(path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from dspark_tui.conversation import Conversation\n"
        "from dspark_tui.store import ConversationStore\n"
        "store, conversation = ConversationStore(pathlib.Path(sys.argv[1])), Conversation(id='c')\n"
        "turn = conversation.begin('x')\n"
        "for word in ('one ', 'two ', 'three '):\n"
        "    turn.answer += word\n"
        "    store.keep(conversation)\n"
        "turn.answer += 'lost'\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], timeout=60).returncode == -9
    turn = ConversationStore(path).load("c").turns[0]
    assert (turn.answer, turn.state) == ("one two three ", "interrupted")


def test_a_database_that_was_removed_is_made_again_with_all_of_the_open_conversation(
    store: ConversationStore, path: Path
) -> None:
    conversation = said("one")
    store.save(conversation)
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()
    path.parent.rmdir()
    answered(conversation.begin("two"), "2")
    store.save(conversation)
    assert ConversationStore(path).load(conversation.id) == conversation


def test_two_programs_that_write_at_once_lose_nothing(store: ConversationStore, path: Path) -> None:
    other = ConversationStore(path)
    conversation = said("one")
    store.save(conversation)
    copy = other.load(conversation.id)
    answered(copy.begin("from the other"), "o")
    answered(conversation.begin("from here"), "h")
    other.save(copy)
    store.save(conversation)
    prompts = [turn.prompt for turn in ConversationStore(path).load(conversation.id).tree]
    assert prompts == ["one", "from the other", "from here"]


def test_only_what_has_changed_is_written(store: ConversationStore) -> None:
    conversation = said(*(f"prompt {number}" for number in range(500)))
    store.save(conversation)
    turn = conversation.begin("next")
    before = store.database.total_changes
    turn.answer = "growing"
    store.save(conversation)
    assert store.database.total_changes - before < 20


def test_a_newer_format_is_refused_with_the_next_step(path: Path) -> None:
    ConversationStore(path).database.execute("PRAGMA user_version = 99")
    with pytest.raises(DsparkError, match=r"newer version .* format is 99") as caught:
        ConversationStore(path)
    assert "Update" in caught.value.hint


# ---- list and search


def test_the_list_is_newest_first_and_names_conversations_by_their_first_words(store: ConversationStore) -> None:
    for conversation in (said("older", at=1000), said("newest " * 30, at=3000), said("between\nlines", at=2000)):
        store.save(conversation)
    titles = [summary.title for summary in search(store).summaries]
    assert titles == ["newest " * 7 + "newest…", "between lines", "older"]
    assert latest(store) == search(store).summaries[0].id


@pytest.mark.parametrize("full_text", [True, False])
def test_search_finds_what_was_said_with_a_piece_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, full_text: bool
) -> None:
    if not full_text:
        monkeypatch.setattr(store_schema, "has_full_text", lambda database: False)
    store = ConversationStore(path)
    assert store.has_full_text is full_text
    texts = {
        "a": "The Markov head looks at the token before",
        "b": 'He said "50% of_it" \\o/',
        "c": "用户喜欢喝茶 in the morning",
        "d": "x" * 500 + " needle " + "y" * 500,
        "e": "the head of the table",
    }
    for number, (prompt, answer) in enumerate(texts.items()):
        conversation = Conversation(id=prompt, created_at=number)
        answered(conversation.begin(f"title {prompt}"), answer).started_at = number
        store.save(conversation)
    expected = {
        "markov": "a",
        "arkov token": "a",
        "head": "ea",
        "head table": "e",
        '"50%': "b",
        "of_it": "b",
        "%": "b",
        "_t": "",
        "\\o/": "b",
        "喜欢喝": "c",
        "茶": "c",
        "needle": "d",
        "title": "edcba",
        "it": "edcba",
        "nowhere": "",
        "AND": "",
        "*": "",
    }
    assert {query: "".join(one.id for one in search(store, query).summaries) for query in expected} == expected
    (summary,) = search(store, "needle").summaries
    assert summary.snippet.startswith("…")
    assert " needle y" in summary.snippet
    assert len(summary.snippet) < 160


def test_search_follows_changes_and_deletions(store: ConversationStore) -> None:
    conversation = said("one")
    store.save(conversation)
    conversation.turns[0].answer = "completely different"
    store.save(conversation)
    assert [search(store, word).total for word in ("answer", "different")] == [0, 1]
    store.delete(conversation.id)
    assert [search(store, word).total for word in ("", "different", "one")] == [0, 0, 0]
    store.restore(conversation.id)
    assert [search(store, word).total for word in ("", "different", "one")] == [1, 1, 1]


def test_an_index_that_a_python_without_fts5_left_behind_is_rebuilt(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ConversationStore(path).save(said("first"))
    with monkeypatch.context() as patched:
        patched.setattr(store_schema, "has_full_text", lambda database: False)
        without = ConversationStore(path)
        without.save(said("second"))
        # Where FTS5 really is missing these would make every write fail.
        assert without.database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall() == []
    store = ConversationStore(path)
    assert store.has_full_text
    assert [search(store, f"answer {word}").total for word in ("first", "second")] == [1, 1]


def test_what_was_deleted_is_gone_for_good_when_the_program_ends(path: Path) -> None:
    store = ConversationStore(path)
    kept, deleted = said("kept"), said("zebra stripes")
    store.save(kept)
    store.save(deleted)
    store.delete(deleted.id)
    store.close()
    again = ConversationStore(path)
    assert (again.contains(kept.id), again.contains(deleted.id)) == (True, False)
    assert again.database.execute("SELECT count(*) FROM messages").fetchone() == (2,)
    assert b"zebra" not in path.read_bytes()


def test_a_title_a_person_gave_stays_until_it_is_taken_back(store: ConversationStore) -> None:
    conversation = said("one two")
    store.save(conversation)
    for name, title in (("  My\n title ", "My title"), ("", "one two")):
        store.rename(conversation.id, name)
        assert search(store).summaries[0].title == title
        store.save(store.load(conversation.id))
        assert search(store).summaries[0].title == title


def test_a_thousand_conversations_are_counted_and_the_newest_are_listed_and_searched_quickly(
    store: ConversationStore,
) -> None:
    for number in range(1000):
        store.save(said(f"question {number}", at=number))
    started = time.perf_counter()
    found = search(store, "question")
    seconds = time.perf_counter() - started
    assert (found.total, len(found.summaries)) == (1000, LIST_LIMIT)
    assert found.summaries[0].title == "question 999"
    assert seconds < 0.3


# ---- files


def test_our_json_holds_every_version_and_reads_back_the_same() -> None:
    conversation = branched()
    assert from_json(json.loads(to_json(conversation))) == conversation


OLD = {"format": 1, "id": "old", "created_at": 5.0, "model": "m"}
OLD_TURN = {"prompt": "p", "reasoning": "", "answer": "a", "state": "answering", "started_at": 6.0}


def test_the_files_of_earlier_versions_are_taken_in_once_and_kept(store: ConversationStore, tmp_path: Path) -> None:
    folder = tmp_path / "conversations"
    assert import_legacy(store, folder) == []
    folder.mkdir()
    (folder / "old.json").write_text(json.dumps({**OLD, "turns": [OLD_TURN, {**OLD_TURN, "state": "complete"}]}))
    (folder / "broken.json").write_text("{")
    assert import_legacy(store, folder) == [folder / "broken.json"]
    loaded = store.load("old")
    assert [(turn.prompt, turn.answer, turn.state) for turn in loaded.turns] == [
        ("p", "a", "interrupted"),
        ("p", "a", "complete"),
    ]
    store.delete("old")
    store.close()
    again = ConversationStore(store.path)
    import_legacy(again, folder)
    assert not again.contains("old")
    assert {path.name for path in folder.iterdir()} == {"old.json", "broken.json"}


WRONG = [
    [],
    {},
    {"format": 99},
    {**OLD, "turns": [{"x": 1}]},
    {**OLD, "turns": [{**OLD_TURN, "answer": 3}]},
    {**OLD, "format": 2},
    {**OLD, "format": 2, "name": "", "settings": {}, "leaf_id": None, "messages": [{"id": "a"}]},
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_what_is_no_conversation_is_refused(data: object) -> None:
    with pytest.raises(ValueError):
        from_json(data)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database at all, however long " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        ConversationStore(path)
