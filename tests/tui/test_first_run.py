"""The first minute of somebody who has no model and no conversation yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dspark_tui.conversation import Conversation
from dspark_tui.engine_link import LocalEngine
from dspark_tui.first_run import first_run_text
from dspark_tui.launcher import EngineOptions
from dspark_tui.model_facts import AllFacts
from dspark_tui.models_screen import ModelsScreen
from dspark_tui.store import ConversationStore
from tests.tui.conftest import FAKE_ENGINE

GivenFacts = Callable[..., AllFacts]


def local() -> LocalEngine:
    return LocalEngine(EngineOptions(), command=FAKE_ENGINE)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_newcomer_sees_the_computer_what_it_runs_and_both_keys_on_one_screen(
    open_chat: Any, facts: GivenFacts, size: tuple[int, int]
) -> None:
    facts("RTX 4090")
    async with open_chat(local(), size=size) as chat:
        await chat.until(lambda: "This computer" in chat.text())
        await chat.pilot.pause()
        text = chat.text()
        assert "dspark-local" in text
        assert "card (24 GiB), 128 GiB of RAM, 1.0 TB of disk free" in text
        assert "deepseek-v4-flash-0731" in text
        assert "166.9 GB" in text
        assert "F5, Enter: fetch deepseek-v4-flash-0731" in text
        assert "F2  What is speculative decoding?" in text
        assert "F1 all keys" in text
        assert "kept, not run by this version" in text
        await chat.pilot.press("f2")
        await chat.answered()
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: "What is 27 + 48?" in chat.text())
        assert "This computer" not in chat.text(), "after the first conversation the usual welcome returns"


async def test_f5_and_enter_begin_with_the_recommended_model(
    open_chat: Any, facts: GivenFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts("RTX 4090")
    pulled: list[str] = []
    async with open_chat(local()) as chat:
        monkeypatch.setattr(chat.screen.desk, "pull", lambda name, insists: pulled.append(f"{name} {insists}"))
        await chat.until(lambda: "F5, Enter" in chat.text())
        await chat.pilot.press("f5")
        await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen) and chat.app.screen.chosen is not None)
        assert chat.app.screen.chosen.name == "deepseek-v4-flash-0731"
        await chat.pilot.press("enter")
        assert pulled == ["deepseek-v4-flash-0731 False"]


async def test_who_has_a_model_gets_the_usual_welcome(open_chat: Any, facts: GivenFacts) -> None:
    facts("RTX 4090", qwen3_4b="incomplete")
    async with open_chat(local()) as chat:
        await chat.until(lambda: chat.screen._is_newcomer is not None)
        await chat.pilot.pause(0.1)
        assert "This computer" not in chat.text()
        assert "This is the bundled demo" in chat.text()


async def test_who_has_conversations_is_not_measured_at_the_start(open_chat: Any, tmp_path: Any) -> None:
    store = ConversationStore(tmp_path / "conversations.db")
    conversation = Conversation(created_at=1.0, model="m")
    turn = conversation.begin("hello")
    turn.answer, turn.state = "hi", "complete"
    store.save(conversation)
    store.close()
    async with open_chat(local()) as chat:
        await chat.until(lambda: chat.screen._is_newcomer is not None)
        assert chat.screen.desk.facts is None
        assert chat.screen.desk._reading is None


async def test_a_server_of_somebody_elses_says_nothing_of_this_computer(open_chat: Any, facts: GivenFacts) -> None:
    facts("RTX 4090")
    async with open_chat() as chat:
        await chat.pilot.pause(0.2)
        assert "This computer" not in chat.text()
        assert chat.screen.desk.facts is None


@pytest.mark.parametrize("computer", ["RTX 4090", "Laptop", "H200"])
@pytest.mark.parametrize("disk_free", [10**12, 10**9])
def test_the_text_keeps_to_eighty_columns_and_few_lines(facts: GivenFacts, computer: str, disk_free: int) -> None:
    text = first_run_text(facts(computer, disk_free))
    rows = text.plain.splitlines()
    assert len(rows) <= 6
    assert max(len(row) for row in rows[1:-1]) <= 76
    assert len(rows[0]) <= 76


def test_what_does_not_fit_the_disk_is_not_recommended_and_the_bytes_are_told(facts: GivenFacts) -> None:
    found = facts("RTX 4090", 10**9)
    assert found.recommended is None
    text = first_run_text(found).plain
    assert "disk 165.9 GB short" in text
    assert "None of the large models fits memory and disk here" in text


def test_the_best_fit_is_recommended_whatever_the_order(facts: GivenFacts) -> None:
    best = facts("H200").recommended
    assert best is not None
    assert best.plan is not None
    assert (best.runs, best.plan.verdict) == (True, "fits")
