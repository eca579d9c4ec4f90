"""The engine as a process of its own: started, watched, stopped, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from dspark_local.errors import DsparkError, EngineUnavailableError
from dspark_tui.engine_link import LocalEngine, RemoteEngine, stop_warm_engine
from dspark_tui.launcher import EngineOptions
from dspark_tui.widgets.notice import EngineNotice

FAKE_ENGINE = (sys.executable, str(Path(__file__).parent / "fake_engine.py"), "serve")


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


async def test_the_engine_is_started_with_its_key_out_of_sight_and_stopped_again(home: Path) -> None:
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    seen: list[Any] = []
    info = await link.connect(seen.append)
    assert info.is_demo
    process = link._process
    assert process is not None
    assert process.api_key not in " ".join(process._command)
    assert "native noise" in process.log_path.read_text()
    assert process.log_path.stat().st_mode & 0o077 == 0
    await link.disconnect()
    link.close()
    assert gone(process.pid)


async def test_a_failed_load_says_what_is_wrong(home: Path) -> None:
    link = LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--fail"))
    try:
        with pytest.raises(DsparkError, match="Shard 2 of 3"):
            await link.connect(lambda progress: None)
    finally:
        link.close()


async def test_a_process_that_dies_at_once_is_reported_with_its_last_words(home: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no such luck')")
    link = LocalEngine(EngineOptions(), command=command)
    with pytest.raises(EngineUnavailableError, match="exit code 1") as caught:
        await link.connect(lambda progress: None)
    assert "no such luck" in str(caught.value)
    assert ".log" in str(caught.value)
    link.close()


async def test_what_a_process_said_of_its_daily_business_is_no_last_word(home: Path) -> None:
    said = "2026-01-01 10:00:00,000 INFO server: Ready\\n2026-01-01 10:00:01,000 ERROR server: the disk burns\\n"
    code = f"import os, sys; sys.stderr.write('{said}'); sys.stderr.flush(); os.kill(os.getpid(), 9)"
    link = LocalEngine(EngineOptions(), command=(sys.executable, "-c", code))
    with pytest.raises(EngineUnavailableError, match="the disk burns") as caught:
        await link.connect(lambda progress: None)
    assert "Ready" not in str(caught.value)
    link.close()


def test_the_engine_exits_when_the_program_that_started_it_is_killed(home: Path) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from dspark_tui.launcher import EngineOptions, EngineProcess\n"
        "engine = EngineProcess(EngineOptions(), command=sys.argv[1:])\n"
        "engine.start()\n"
        "asyncio.run(engine.address())\n"
        "print(engine.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, *FAKE_ENGINE], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(pid))


async def test_a_warm_engine_is_found_by_the_next_chat_and_stopped_on_request(home: Path) -> None:
    first = LocalEngine(EngineOptions(), keep_warm=True, command=FAKE_ENGINE)
    await first.connect(lambda progress: None)
    assert first._process is not None
    pid = first._process.pid
    await first.disconnect()
    first.close()
    assert not gone(pid)
    second = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    await second.connect(lambda progress: None)
    assert second._process is None
    await second.disconnect()
    second.close()
    assert not gone(pid)
    assert stop_warm_engine()
    await asyncio.to_thread(wait_until, lambda: gone(pid))
    assert not stop_warm_engine()


async def test_another_engine_takes_the_place_of_the_present_one_and_the_conversation_stays(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    assert link.can_switch
    assert not RemoteEngine("http://127.0.0.1:1", None).can_switch
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send("echo before")
        await chat.answered()
        assert link._process is not None
        former = link._process.pid
        await chat.screen.switch_engine(EngineOptions(context=1024))
        assert link.options == EngineOptions(context=1024)
        await chat.until(lambda: chat.screen.info is None)
        await chat.until(lambda: chat.screen.info is not None)
        assert gone(former)
        assert "1024" in link._process._command
        await chat.send("echo after")
        await chat.until(lambda: chat.answer == "after")
        assert [turn.answer for turn in chat.screen.conversation.turns] == ["before", "after"]


@pytest.mark.parametrize("joins", [False, True])
async def test_a_warm_engine_with_other_options_is_ended_by_a_switch(home: Path, joins: bool) -> None:
    first = LocalEngine(EngineOptions(), keep_warm=True, command=FAKE_ENGINE)
    await first.connect(lambda progress: None)
    assert first._process is not None
    warm = first._process.pid
    switching = LocalEngine(EngineOptions(), command=FAKE_ENGINE) if joins else first
    if joins:
        await switching.connect(lambda progress: None)
    switching.use(EngineOptions(context=1024))
    await switching.connect(lambda progress: None)
    assert gone(warm)
    for link in (first, switching):
        await link.disconnect()
        link.close()
    stop_warm_engine()


async def test_an_engine_that_dies_in_mid_answer_costs_no_word_and_is_restarted_by_one_key(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.send("breakdown")
        await chat.until(lambda: bool(chat.screen.query(EngineNotice)))
        turn = chat.screen.conversation.turns[0]
        assert turn.state == "interrupted"
        assert turn.answer.startswith("Speculative decoding")
        assert chat.saved().turns == [turn]
        await chat.until(lambda: "exit code 9" in chat.text())
        await chat.until(lambda: "illegal memory access" in chat.text())
        await chat.until(lambda: isinstance(chat.app.focused, EngineNotice))
        await chat.pilot.press("r")
        await chat.until(lambda: chat.screen.info is not None)
        assert not chat.screen.query(EngineNotice)
        await chat.send("echo back again")
        await chat.until(lambda: chat.answer == "back again")
        assert len(chat.screen.conversation.turns) == 2


async def test_an_engine_that_dies_does_not_take_the_keys_of_somebody_who_writes(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    async with open_chat(link, size=(100, 40)) as chat:
        await chat.write("half a fe")
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGKILL)
        await chat.until(lambda: bool(chat.screen.query(EngineNotice)))
        await chat.pilot.press("r", "r", "y")
        assert chat.screen._composer.text == "half a ferry"
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(chat.app.focused, EngineNotice))
        await chat.pilot.press("s", "space", "r")
        assert chat.screen._composer.text == "half a ferrys r"
        assert chat.screen.query(EngineNotice)
        chat.screen.query_one(EngineNotice).focus()
        await chat.pilot.pause()
        chat.app.post_message(events.Paste("?\n"))
        await chat.until(lambda: chat.screen._composer.text == "half a ferrys r?\n")


async def test_an_engine_that_dies_while_idle_is_noticed(open_chat: Any) -> None:
    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    async with open_chat(link, size=(100, 40)) as chat:
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGKILL)
        await chat.until(lambda: "killed by signal 9" in chat.text())


def chat_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dspark_tui", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def test_a_model_path_that_is_no_model_fails_before_the_screen_with_exit_code_4(tmp_path: Path) -> None:
    missing = chat_program("--model", str(tmp_path / "nowhere"))
    assert missing.returncode == 4
    assert missing.stderr.count("\n") == 1
    assert "does not exist" in missing.stderr
    for option in ("--model", "--draft"):
        mistyped = chat_program(option, "deepseek-v4-flsh")
        assert mistyped.returncode == 4
        assert "Did you mean deepseek-v4-flash" in mistyped.stderr
    empty = chat_program("--model", str(tmp_path))
    assert (empty.returncode, "config.json" in empty.stderr) == (4, True)


WRONG = [
    (),
    ("--connect", "localhost"),
    ("--connect", "http://a", "--model", "."),
    ("--connect", "http://a:port"),
    ("--connect", "http://[::1"),
]


@pytest.mark.parametrize("arguments", WRONG)
def test_what_cannot_work_is_refused_in_one_line_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    refused = chat_program(*arguments)
    assert refused.returncode == 2
    assert refused.stderr.startswith("dspark-chat: ")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_is_one_message_unless_debugging(debug: bool) -> None:
    code = "from dspark_tui import cli\ndef fail(): raise ZeroDivisionError('by nothing')\ncli.app = fail\ncli.main()"
    environment = {**os.environ, "DSPARK_DEBUG": "1" if debug else ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert "ZeroDivisionError: by nothing" in done.stderr
    assert ("Traceback" in done.stderr) is debug


def test_a_terminal_that_has_gone_does_not_keep_the_guard_from_leaving(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from dspark_tui.stderr_guard import guarded_stderr\n"
        "reader, writer = os.pipe()\n"
        "os.dup2(writer, 2)\n"
        "before = sys.stderr\n"
        "with guarded_stderr(pathlib.Path(sys.argv[1])):\n"
        "    os.close(reader)\n"
        "    sys.__stderr__.write('nobody reads this')\n"
        "print(sys.stderr is before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_native_noise_goes_to_the_log_and_the_terminal_is_given_back(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from dspark_tui.stderr_guard import guarded_stderr\n"
        "with guarded_stderr(pathlib.Path(sys.argv[1])):\n"
        "    os.write(2, b'from a driver\\n')\n"
        "    print('from python', file=sys.stderr)\n"
        "    sys.__stderr__.write('screen\\n')\n"
        "os.write(2, b'after\\n')"
    )
    log = tmp_path / "noise.log"
    done = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, text=True, timeout=60)
    assert done.stderr == "screen\nafter\n"
    assert sorted(log.read_text().split("\n")) == ["", "from a driver", "from python"]
