"""Every screen of the chat, one after the other in one app, with a scripted engine and a clock that events move on."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.backend import Cancelled, ModelInfo
from dspark_local.client import EngineClient
from dspark_local.engine_facts import EngineFacts, ExpertTraffic, GraphicsMemory, MemoryPart, SystemMemory
from dspark_local.errors import OutOfMemoryError
from dspark_local.events import Event, Finished, RoundDone
from dspark_local.request import ChatRequest
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.routes import llama_cpp
from dspark_local.server.worker import EngineWorker
from dspark_tui.app import ChatApp
from dspark_tui.chat_screen import ChatScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation
from dspark_tui.downloads_state import DownloadState
from dspark_tui.engine_link import LocalEngine, OnProgress
from dspark_tui.launcher import EngineOptions
from dspark_tui.meter import LiveMeter
from dspark_tui.model_facts import AllFacts
from dspark_tui.settings_file import ChatFile, Preset
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.thinking import ThinkingBlock
from tests.tui.fake_engine import FakeBackend

NOW = 1_772_715_600.0  # Thursday, 5 March 2026, 13:00 UTC
QUESTION = "How does a draft save time, and when does it not?"
ANSWER = """## In short

A **draft** proposes a block of tokens and the *target* checks all of it in **one pass**. A pass costs nearly the same \
for one token as for five, because the weights are read once:

| setting | tokens per pass | passes for 300 tokens |
|---|---|---|
| off | 1.0 | 300 |
| static:2 | 2.1 | 143 |
| auto | 2.6 | 115 |

1. The draft proposes `k` tokens with confidences.
2. The target verifies them at once.
3. What agrees is kept; the first that does not is drawn again:
   - greedy: the target's own choice,
   - sampling: from the corrected distribution.

```python
def speed_up(accepted: float, draft_cost: float, verify_cost: float) -> float:
    # of decoding with drafts over plain decoding
    return (1 + accepted) / (draft_cost + verify_cost)
```

> Where checking a row costs as much as a pass, drafts do not pay: `auto` then switches them off.

Text stays the target's own: Grüße, 世界 and 🙂 included. See [the paper](https://arxiv.org/abs/2302.01318)."""

_EARLIER = (
    (3_000, "Which of my tests are slow, and why?", 8),
    (26_000, "Rename the module and keep the old import path working for one release", 22),
    (100_000, "世界 in a title, and emoji 🙂: what do editors make of them", 2),
    (400_000, "Explain the memory plan of this computer", 4),
    (3_000_000, "A title that is much longer than any list of conversations is wide, so that it has to be cut", 116),
    (40_000_000, "First steps", 1),
)
_GIB = 2**30
_FACTS = EngineFacts(
    model="dspark-demo",
    device="cuda:0",
    ram=SystemMemory(128 * _GIB, 31 * _GIB, 88 * _GIB),
    uptime_seconds=3_900,
    slots=4,
    running=1,
    waiting=0,
    parts=(MemoryPart("weights", "vram", 19 * _GIB), MemoryPart("experts", "ram", 90 * _GIB)),
    vram=GraphicsMemory(24 * _GIB, 3 * _GIB, 21 * _GIB),
    experts=ExpertTraffic(18_342, 61_000_000_000, 58_000_000_000),
)
_FILE = ChatFile(
    presets={"careful": Preset(temperature=0.0, thinking=True), "stories": Preset(temperature=1.0, top_p=0.95)}
)


class Clock:
    """Stands still but for what is told it. The first token takes 0.4 s, a pass 0.05 s, whatever it really took."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def follow(self, event: ClientEvent | None) -> None:
        """An observer of answers."""
        self.now += 0.4 if event is None else 0.05 if isinstance(event, RoundSummary) else 0.0


@dataclass
class SteadyBackend(FakeBackend):
    """Tells figures that do not depend on this machine, and waits in mid-answer after `hold_at` passes."""

    answer: str = ANSWER
    hold_at: int = 0

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        passes = 0
        for event in super().chat(request, cancelled):
            if isinstance(event, Finished):
                event = replace(event, stats=replace(event.stats, decode_seconds=0.05 * event.stats.passes))
            yield event
            passes += isinstance(event, RoundDone)
            while isinstance(event, RoundDone) and passes == self.hold_at and not cancelled():
                time.sleep(0.01)


class Nearby(LocalEngine):
    """An engine of ours that is in this very process."""

    def __init__(self, url: str) -> None:
        super().__init__(EngineOptions())
        self._url = url

    async def connect(self, on_progress: OnProgress) -> ModelInfo:
        await self.disconnect()
        self.client = EngineClient(self._url, "secret")
        return await self.client.wait_until_ready(on_progress)


@dataclass
class Stage:
    """What a scene needs."""

    app: ChatApp
    pilot: Pilot[Any]
    store: ConversationStore
    backend: SteadyBackend

    @property
    def screen(self) -> ChatScreen:
        return self.app.chat

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            await self.pilot.pause(0.02)

    async def begin(self, prompt: str, *, hold_at: int = 0) -> None:
        """Send, and wait until the engine holds or has answered."""
        self.backend.hold_at, passes = hold_at, self.backend.passes
        self.screen._composer.insert(prompt)
        await self.pilot.pause()
        await self.pilot.press("enter")
        if hold_at:
            await self.until(lambda: self.screen.meter.passes == hold_at)
        else:
            await self.until(lambda: self.backend.passes > passes)
            await self.ended()

    async def ended(self) -> None:
        await self.until(lambda: not self.screen.is_answering)


@contextmanager
def _engine() -> Iterator[tuple[str, SteadyBackend]]:
    backend = SteadyBackend()
    worker = EngineWorker(lambda progress: backend)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(worker, Access("secret"))
    app.router.routes.extend(llama_cpp.ROUTES)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    worker.start()
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", backend
    finally:
        worker.stop()
        server.should_exit = True
        thread.join(10)


def model_facts(**installed: str) -> AllFacts:
    """What the plan says of a computer with a 24 GiB card; the names of models that are here, with their state."""
    document = json.loads((Path(__file__).parent / "models.json").read_text(encoding="utf-8"))
    for model in document["models"]:
        if state := installed.get(model["name"].replace("-", "_")):
            whole = model["download"]["bytes"]
            here = whole if state != "incomplete" else whole // 4 + 1
            sizes = {"present_bytes": here, "expected_bytes": whole, "bytes": here}
            model["installed"] = {"state": state, "path": "/nowhere", **sizes}
    return AllFacts.model_validate(document)


@asynccontextmanager
async def stage(folder: Path, size: tuple[int, int]) -> AsyncIterator[Stage]:
    """The chat of a newcomer, in `folder`, with clock, facts and dates that stand still."""
    clock = Clock()
    with _engine() as (url, backend), pytest.MonkeyPatch.context() as patch:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX", "STY", "COLORFGBG", "NO_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("DSPARK_HOME", str(folder / "home"))
        patch.setenv("TZ", "UTC")
        time.tzset()
        work = folder / "work"
        work.mkdir()
        patch.chdir(work)
        for module in ("asking_screen", "conversations_part"):
            patch.setattr(f"dspark_tui.{module}.LiveMeter", partial(LiveMeter, clock))
        patch.setattr("dspark_tui.answering.time", SimpleNamespace(monotonic=clock))
        patch.setattr("dspark_tui.sessions_screen.time", SimpleNamespace(time=lambda: NOW))
        patch.setattr("dspark_tui.sampling_screen.load_settings", lambda: _FILE)
        patch.setattr("dspark_tui.models_desk.read_facts", _answering_with(model_facts()))
        patch.setattr(ChatScreen, "_ask_engine", _answering_with(_FACTS))
        for box in (Input, TextArea):  # a cursor that blinks is there in one picture and not in the next
            patch.setattr(box.cursor_blink, "_default", False)
        store = ConversationStore(folder / "conversations.db")
        link = Nearby(url)
        app = ChatApp(link, ChatSettings(file=_FILE), store)
        app.animation_level = "none"
        try:
            async with app.run_test(size=size) as pilot:
                staged = Stage(app, pilot, store, backend)
                await staged.until(lambda: staged.screen.info is not None)
                staged.screen.observers.append(clock.follow)
                yield staged
        finally:
            backend.hold_at = 0
            link.close()
            store.close()
            patch.undo()
            time.tzset()


def _answering_with(value: Any) -> Callable[..., Any]:
    async def answer(*_: object) -> Any:
        return value

    return answer


async def scenes(on: Stage) -> AsyncIterator[str]:
    """The name of each scene, while it is on."""
    screen, press = on.screen, on.pilot.press
    await on.until(lambda: bool(screen.query(".newcomer")))
    yield "newcomer"

    _fill(on.store)
    screen._count_kept()
    await press("ctrl+n")
    yield "welcome"
    await press("ctrl+o")
    yield "conversations"
    await press("escape", "slash")
    yield "slash-list"
    await press("escape", "backspace", "f1")
    yield "help"
    await press("escape", "ctrl+p")
    yield "palette"
    await press("escape", "ctrl+t")
    await on.until(lambda: screen.thinking)
    screen._phase.forget()
    await on.begin(QUESTION, hold_at=3)
    yield "thinking"
    on.backend.hold_at = 26
    await on.until(lambda: screen.meter.passes == 26)
    yield "streaming"

    Path("notes.txt").write_text("What was measured yesterday.\n" * 40, encoding="utf-8")
    await screen.slash_file("notes.txt")
    screen._composer.insert("Then compare it with these notes.")
    await press("enter")
    screen._composer.insert("And say it in one sentence.")
    await press("enter")
    await on.until(lambda: len(screen.queue) == 2)
    await screen.slash_file("notes.txt")
    screen._composer.insert("What is still missing?")
    screen._phase.forget()  # a hint goes after seconds of its own
    await on.pilot.pause(0.3)
    on.app.refresh_css(animate=False)  # the thumb of the scroll bar is a row late after the lists above the box grew
    yield "queue"
    await press("f9")
    yield "engine-streaming"
    await press("f9")
    screen.action_clear_queue()
    screen._composer.text = ""
    screen.files.clear()
    await screen._show_chips()
    screen._phase.forget()
    on.backend.hold_at = 0
    await on.ended()
    yield "conversation"
    on.screen.query_one(ThinkingBlock).set_open(True)
    screen._messages.scroll_home(animate=False)
    yield "thinking-open"
    on.screen.query_one(ThinkingBlock).set_open(False)
    await press("f9")
    yield "engine"
    await press("f9", "ctrl+k")
    await on.pilot.pause(0.2)
    await press("up")
    yield "blocks"
    await press("escape", "ctrl+s")
    yield "sampling"
    await press("escape")

    _begin_download(screen)
    here = model_facts(deepseek_v4_flash="verified", qwen3_4b="incomplete", qwen3_8b="unverified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dspark_tui.models_desk.read_facts", _answering_with(here))
        await press("f5")
        await on.until(lambda: screen.desk.facts is here)
        yield "models"
    await press("escape")
    words = "The engine was killed by signal 9: the computer ran out of memory, and the system ended the engine for it."
    await screen.show_engine_notice(words, OutOfMemoryError(words, fitting_context=1024))
    yield "engine-gone"


def _fill(store: ConversationStore) -> None:
    for ago, title, turns in _EARLIER:
        conversation = Conversation(model="deepseek-v4-flash-0731", created_at=NOW - ago)
        for number in range(turns):
            turn = conversation.begin(title if not number else "And then?")
            turn.answer, turn.state, turn.started_at = "It depends.", "complete", NOW - ago
        store.save(conversation)


def _begin_download(screen: ChatScreen) -> None:
    state = DownloadState("deepseek-v4-flash-0731", "running")
    for second in range(3):
        moved = 42_000_000_000 + second * 112_000_000
        state.take({"event": "progress", "done": moved, "total": 166_878_536_440, "moved": moved}, float(second))
    screen.desk.downloads.states[state.name] = state
