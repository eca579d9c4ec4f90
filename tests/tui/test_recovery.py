"""The engine dies, or memory runs out: what is said, what is offered, and that no word is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from dspark_local.answer_stream import error_of_wire
from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_local.server.faults import error_body
from dspark_local.wire import WireError
from dspark_tui.engine_link import LocalEngine, RemoteEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.recovery import offers
from dspark_tui.recovery_causes import how_it_ended, oom_kills
from dspark_tui.widgets.notice import EngineNotice
from tests.tui.conftest import FAKE_ENGINE

REFUSED = OutOfMemoryError("A context of 8192 needs 40 GiB.", hint="Run with --context 4096.", fitting_context=4096)


def keys(context: int, used: int, failure: DsparkError | None, options: EngineOptions) -> dict[str, int | None]:
    return {offer.key: offer.options.context for offer in offers(options, context=context, used=used, failure=failure)}


def test_a_refusal_carries_the_context_that_fits_over_the_wire() -> None:
    wire = WireError.model_validate(error_body(REFUSED)["error"])
    told = error_of_wire(wire, 500)
    assert isinstance(told, OutOfMemoryError)
    assert (told.fitting_context, str(told)) == (4096, str(REFUSED))


@pytest.mark.parametrize(
    ("context", "used", "failure", "wanted"),
    [
        (8192, 100, REFUSED, 4096),
        (8192, 100, OutOfMemoryError("x"), 4096),
        (8192, 5000, OutOfMemoryError("x"), 5120),
        (3000, 10, OutOfMemoryError("x"), 2048),
    ],
)
def test_the_smaller_plan_is_the_one_that_fits_or_half_and_never_less_than_what_was_said(
    context: int, used: int, failure: DsparkError, wanted: int
) -> None:
    assert keys(context, used, failure, EngineOptions()) == {"s": wanted}


def test_nothing_smaller_is_offered_where_nothing_smaller_would_do_or_memory_was_not_the_reason() -> None:
    assert keys(2048, 10, OutOfMemoryError("x"), EngineOptions()) == {}
    assert keys(8192, 8100, OutOfMemoryError("x"), EngineOptions()) == {}
    assert keys(8192, 10, None, EngineOptions(model="big")) == {"d": None}


@pytest.mark.parametrize(
    ("code", "words", "kills", "said", "memory"),
    [
        (-signal.SIGKILL, [], 1, "the computer ran out of memory", True),
        (-signal.SIGKILL, [], 0, "killed by signal 9, by another program", False),
        (1, ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"], 0, "ran out of memory and", True),
        (-signal.SIGSEGV, [], 1, "killed by signal 11", False),
        (9, ["CUDA error: an illegal memory access"], 0, "exit code 9", False),
    ],
)
def test_the_end_of_a_process_is_told_by_its_signal_the_kernels_counters_and_its_last_words(
    code: int, words: list[str], kills: int, said: str, memory: bool
) -> None:
    text, is_memory = how_it_ended(code, words, kills)
    assert said in text
    assert is_memory is memory


def test_the_kernels_counters_are_read_where_they_are_and_missed_where_not(tmp_path: Path) -> None:
    before = oom_kills((tmp_path / "missing",))
    (tmp_path / "events").write_text("low 0\noom 3\noom_kill 2\n")
    assert oom_kills((tmp_path / "events",)) == before + 2


async def test_a_refusal_to_load_offers_the_context_that_fits_and_one_key_starts_with_it(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--fits", "1024"))
    async with open_chat(link, ready=False) as chat:
        await chat.until(lambda: "a context of 2048 needs 40.0 GiB, 24.0 GiB is free" in chat.text().replace("\n", ""))
        await chat.until(lambda: "s  start with a context of 1k" in chat.text())
        await chat.pilot.press("s")
        await chat.until(lambda: chat.screen.info is not None)
        assert chat.screen.info.context_length == 1024
        assert not chat.screen.query(EngineNotice)


async def test_memory_that_runs_out_in_mid_answer_keeps_the_words_and_offers_half_the_context(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(context=8192), command=FAKE_ENGINE)
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send("memory runs out")
        await chat.until(lambda: bool(chat.screen.query(EngineNotice)) and not chat.busy)
        turn = chat.screen.conversation.turns[0]
        assert turn.answer.startswith("Speculative decoding")
        assert chat.saved().turns[0].answer == turn.answer
        assert len(chat.screen.query("ErrorNotice")) == 0
        await chat.until(lambda: "tried to allocate 2.00 GiB" in chat.text() and "s  start with" in chat.text())
        await chat.pilot.press("s")
        await chat.until(lambda: chat.screen.info is not None and chat.screen.info.context_length == 4096)
        await chat.hinted("Ctrl+G goes on")


async def test_an_engine_killed_in_mid_answer_comes_back_with_a_word_on_the_answer_that_was_cut(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(model="big"), command=(*FAKE_ENGINE, "--pass-seconds", "0.02"))
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 50)
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGKILL)
        await chat.until(lambda: bool(chat.screen.query(EngineNotice)) and not chat.busy)
        kept = chat.answer
        assert chat.saved().turns[0].answer == kept
        await chat.until(lambda: "killed by signal 9" in chat.text() and "d  start the demo instead" in chat.text())
        assert "s  start" not in chat.text()
        await chat.pilot.press("d")
        await chat.until(lambda: chat.screen.info is not None)
        assert link.options == EngineOptions()
        await chat.hinted("Ctrl+G goes on")
        assert chat.answer == kept


async def test_a_prompt_that_came_back_to_the_box_does_not_take_the_keys_of_the_notice(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--pass-seconds", "5"))
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send("hello")
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGKILL)
        await chat.until(lambda: isinstance(chat.app.focused, EngineNotice))
        assert chat.screen._composer.text == "hello"
        await chat.pilot.press("r")
        await chat.until(lambda: chat.screen.info is not None)
        assert chat.screen._composer.text == "hello"


async def test_a_server_that_does_not_answer_is_to_be_reached_not_started(open_chat: Any) -> None:
    async with open_chat(RemoteEngine("http://127.0.0.1:9", None), ready=False) as chat:
        await chat.until(lambda: "No engine answers at http://127.0.0.1:9." in chat.text())
        assert "r  try to reach it again" in chat.text()
