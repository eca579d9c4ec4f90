"""An engine process that follows a script where the demo is not capable enough: it calls tools and edits a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from dspark_local.backend import Cancelled
from dspark_local.events import (
    Event,
    Finished,
    GenerationStats,
    PrefillProgress,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import ChatRequest
from dspark_local.server.run import ServeOptions, run_server
from tests.tui.fake_engine import FakeBackend

STATS = GenerationStats(prompt_tokens=10, completion_tokens=5, passes=2)
CITIES = ("Bern", "Oslo")
EDIT = """apples.py
```python
<<<<<<< SEARCH
    return 41
=======
    return 42
>>>>>>> REPLACE
```
"""


class ScriptBackend(FakeBackend):
    """Asks get_weather of two cities and repeats what it was told; where aider asks, it changes one line."""

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        results = [message.content for message in request.messages if message.role == "tool"]
        said = self._words(request, results)
        if not (said or request.tools):
            yield from super().chat(request, cancelled)
            return
        yield PrefillProgress(10, 10, 0)
        if not said:
            for index, city in enumerate(CITIES):
                yield ToolCallStarted(index, f"call_{index}", "get_weather")
                arguments = json.dumps({"city": city})
                for start in range(0, len(arguments), 4):
                    yield ToolArgumentsDelta(index, arguments[start : start + 4])
            yield Finished("tool_calls", (1, 2), STATS)
            return
        for start in range(0, len(said), 7):
            yield TextDelta(said[start : start + 7])
        yield Finished("stop", (1, 2), STATS)

    def _words(self, request: ChatRequest, results: list[str]) -> str:
        if results:
            return f"It said: {', '.join(results)}"
        system = "".join(message.content for message in request.messages if message.role == "system")
        if "SEARCH/REPLACE" in system:
            return EDIT
        return "Count the apples right" if "commit message" in system else ""


if __name__ == "__main__":
    backend = ScriptBackend(pass_seconds=0.01)
    run_server(lambda progress: backend, ServeOptions(api_key=os.environ["DSPARK_API_KEY"]))
