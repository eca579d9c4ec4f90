"""Going on with an answer that was cut off: in place, with its figures summed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_local.request import ChatMessage
from dspark_tui.answering import what_interrupted
from dspark_tui.conversation import Conversation, Turn
from dspark_tui.engine_link import LocalEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.widgets.messages import footer_text
from dspark_tui.widgets.streaming_markdown import StreamingMarkdown
from tests.tui.conftest import FAKE_ENGINE
from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend

WORDS = " ".join(f"word{n}" for n in range(600))


async def test_ctrl_g_goes_on_with_a_stopped_answer_in_the_same_turn(
    open_chat: Any, engine: tuple[str, FakeBackend]
) -> None:
    async with open_chat(size=(100, 40)) as chat:
        await chat.send(f"echo {WORDS}")
        await chat.until(lambda: "word9" in chat.answer)
        await chat.pilot.press("escape")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        begun, tokens = turn.answer, turn.completion_tokens
        assert (turn.state, begun != WORDS) == ("stopped", True)
        await chat.until(lambda: "Ctrl+G go on" in chat.text())
        await chat.pilot.press("ctrl+g")
        await chat.until(lambda: turn.state == "complete" and not chat.busy)
        assert turn.answer == WORDS
        assert chat.screen.conversation.tree == [turn]
        last = engine[1].requests[-1].messages[-1]
        assert (last.role, last.content, last.prefix) == ("assistant", begun, True)
        assert turn.completion_tokens > tokens
        assert turn.completion_tokens == pytest.approx(600, abs=6)
        await chat.until(lambda: chat.screen.query_one(StreamingMarkdown).source == WORDS)
        assert chat.saved() == chat.screen.conversation
        await chat.until(lambda: "stopped ·" not in chat.text())


async def test_an_answer_cut_at_the_limit_of_tokens_goes_on_by_the_command(open_chat: Any) -> None:
    async with open_chat() as chat:
        chat.screen.slash_max_tokens("10")
        await chat.send(f"echo {WORDS}")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        assert (turn.state, turn.completion_tokens) == ("length", 10)
        chat.screen.slash_max_tokens("")
        await chat.write("/continue")
        await chat.pilot.press("enter")
        await chat.until(lambda: turn.state == "complete" and not chat.busy)
        assert (turn.answer, turn.completion_tokens) == (WORDS, 600)


async def test_reasoning_that_was_cut_off_goes_on_as_reasoning_though_thinking_is_off_now(open_chat: Any) -> None:
    async with open_chat(thinking=True) as chat:
        chat.screen.slash_max_tokens("6")
        await chat.send("hello")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        assert (turn.answer, REASONING.startswith(turn.reasoning), turn.state) == ("", True, "length")
        chat.screen.slash_max_tokens("")
        await chat.pilot.press("ctrl+t", "ctrl+g")
        await chat.until(lambda: turn.state == "complete" and not chat.busy)
        assert (turn.reasoning, turn.answer) == (REASONING, ANSWER)


async def test_a_refusal_to_go_on_leaves_the_answer_as_it_was(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send(f"echo stubborn {WORDS}")
        await chat.until(lambda: "word9" in chat.answer)
        await chat.pilot.press("escape")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        before = turn.answer, turn.state, turn.completion_tokens, footer_text(turn)
        await chat.pilot.press("ctrl+g")
        await chat.until(lambda: "cannot go on with an answer" in chat.text())
        await chat.until(lambda: not chat.busy)
        assert (turn.answer, turn.state, turn.completion_tokens, footer_text(turn)) == before
        assert chat.saved() == chat.screen.conversation


async def test_a_whole_answer_has_nothing_to_go_on_with(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("ctrl+g")
        await chat.hinted("Nothing to go on with yet")
        chat.screen._phase.last_hint = ""
        await chat.send("echo whole")
        await chat.answered()
        await chat.pilot.press("ctrl+g")
        await chat.hinted("Nothing was cut off")
        assert chat.answer == "whole"


async def test_after_the_engine_was_killed_and_started_again_the_answer_goes_on(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--pass-seconds", "0.02"))
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send(f"echo {WORDS}")
        await chat.until(lambda: "word9" in chat.answer)
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGKILL)
        await chat.until(lambda: bool(chat.screen.query("EngineNotice")) and not chat.busy)
        turn = chat.screen.conversation.turns[0]
        assert footer_text(turn).startswith("interrupted: the engine went away")
        await chat.pilot.press("r")
        await chat.until(lambda: chat.screen.info is not None)
        await chat.pilot.press("ctrl+g")
        await chat.until(lambda: turn.state == "complete" and not chat.busy)
        assert (turn.answer, turn.interruption) == (WORDS, "")


def test_what_is_there_of_an_answer_is_sent_as_the_beginning_of_the_rest() -> None:
    conversation = Conversation()
    turn = conversation.begin("question")
    assert [message.role for message in conversation.messages()] == ["user"]
    turn.answer, turn.reasoning, turn.state = "half", "thought", "stopped"
    expected = ChatMessage("assistant", "half", reasoning="thought", prefix=True)
    assert conversation.messages() == (ChatMessage("user", "question"), expected)


def test_the_words_under_an_answer_say_what_really_happened() -> None:
    assert what_interrupted(EngineUnavailableError("gone")) == "the engine went away"
    assert what_interrupted(DsparkError("A wire came loose.", hint="Solder it.")) == "A wire came loose"
    turn = Turn("p", answer="a", state="interrupted", completion_tokens=7, first_token_seconds=0.44)
    assert footer_text(turn) == "interrupted · 7 tokens · first token 0.4 s"
    turn.state = "stopped"
    assert footer_text(turn) == "stopped · 7 tokens · first token 0.4 s"
