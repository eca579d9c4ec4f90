from __future__ import annotations

from pathlib import Path
from typing import Any

from dspark_tui.conversation import Conversation
from dspark_tui.prompt_history import PromptHistory, earlier_prompts
from dspark_tui.store import ConversationStore


def say(store: ConversationStore, *prompts: str) -> str:
    conversation = Conversation()
    for prompt in prompts:
        turn = conversation.begin(prompt)
        turn.answer, turn.state = "yes", "complete"
    store.save(conversation)
    return conversation.id


def test_prompts_of_all_kept_conversations_come_back_each_once_the_newest_last(tmp_path: Path) -> None:
    store = ConversationStore(tmp_path / "c.db")
    say(store, "one", "two")
    deleted = say(store, "secret")
    say(store, "three", "one", "x" * 30_000)
    store.delete(deleted)
    assert earlier_prompts(store) == ["two", "three", "one"]
    store.close()
    assert earlier_prompts(store) == [], "a database that does not answer has no history, and no error"


def test_stepping_goes_from_an_empty_box_to_the_oldest_and_back_to_the_empty_box() -> None:
    history = PromptHistory()
    history.add("b")
    history.extend(["a", "b"])
    assert [history.step(-1, ""), history.step(-1, "b"), history.step(-1, "a")] == ["b", "a", None]
    assert [history.step(1, "a"), history.step(1, "b"), history.step(1, "")] == ["b", "", None]


def test_ones_own_words_are_never_replaced() -> None:
    history = PromptHistory()
    history.extend(["a", "b"])
    assert history.step(-1, "draft") is None
    assert history.step(-1, "") == "b"
    assert history.step(-1, "b, changed") is None


async def test_up_in_an_empty_box_brings_prompts_of_earlier_sessions_and_down_leads_back(open_chat: Any) -> None:
    async with open_chat(ready=False) as chat:
        say(chat.store, "yesterday\nat noon", "/not a command")
        box = chat.screen.query_one("Composer")
        await chat.pilot.press("up")
        assert box.text == "//not a command"
        await chat.pilot.press("up")
        assert box.text == "yesterday\nat noon"
        await chat.pilot.press("up", "down", "down", "down")
        assert box.text == ""
