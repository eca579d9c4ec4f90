"""An engine process that follows a script: it calls the agent's shell once and says what came out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from dspark_local.backend import Cancelled
from dspark_local.events import Event, Finished, PrefillProgress, TextDelta, ToolArgumentsDelta, ToolCallStarted
from dspark_local.request import ChatRequest
from dspark_local.server.run import ServeOptions, run_server
from tests.tui.fake_engine import FakeBackend

COMMAND = "echo $((6 * 7)) apples"
SHELLS = {
    "Bash": {"command": COMMAND, "description": "Count the apples"},  # Claude Code
    "exec_command": {"cmd": COMMAND},  # Codex
}


class ShellBackend(FakeBackend):
    """Knows neither agent; takes whichever shell is among the tools."""

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        yield PrefillProgress(10, 10, 0)
        results = [message.content for message in request.messages if message.role == "tool"]
        names = [tool["function"]["name"] for tool in request.tools]
        shell = next((name for name in SHELLS if name in names), None)
        if results or shell is None:
            yield TextDelta(f"It said: {''.join(results)}")
            yield Finished("stop", (1, 2))
            return
        yield TextDelta("I count.")
        yield ToolCallStarted(0, "call_1", shell)
        arguments = json.dumps(SHELLS[shell])
        for start in range(0, len(arguments), 5):
            yield ToolArgumentsDelta(0, arguments[start : start + 5])
        yield Finished("tool_calls", (1, 2))


if __name__ == "__main__":
    run_server(lambda progress: ShellBackend(), ServeOptions(api_key=os.environ["DSPARK_API_KEY"]))
