from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from dspark_tui.leaving import leave_on_signals
leaving = []
leave_on_signals(lambda: leaving.append(True), 0.5)
print("ready", flush=True)
while not (leaving and sys.argv[1] == "willing"):
    time.sleep(0.01)
print("left by the door", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize(("manner", "status", "words"), [("willing", 0, "left by the door\n"), ("hanging", None, "")])
def test_a_signal_opens_the_door_and_ends_a_program_that_hangs(
    number: signal.Signals, manner: str, status: int | None, words: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, manner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(30) == (128 + number if status is None else status)
    assert said == words
