from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from textual.pilot import Pilot

from dspark_local.errors import DsparkError
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.routes import llama_cpp
from dspark_local.server.worker import EngineWorker
from dspark_tui.app import ChatApp
from dspark_tui.chat_screen import ChatScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import EngineLink, RemoteEngine
from dspark_tui.model_facts import AllFacts
from dspark_tui.store import ConversationStore
from tests.tui.fake_engine import FakeBackend

FAKE_ENGINE = (sys.executable, str(Path(__file__).parent / "fake_engine.py"), "serve")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the real state folder."""
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX", "STY"):  # nor the clipboard of whoever runs the tests
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def engine() -> Iterator[tuple[str, FakeBackend]]:
    """One scripted engine behind a real socket, for all tests that do not break it."""
    backend = FakeBackend(pass_seconds=0.01)
    worker = EngineWorker(lambda progress: backend)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(worker, Access("secret"))
    app.router.routes.extend(llama_cpp.ROUTES)  # for the count of a file's tokens
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    worker.start()
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", backend
    assert worker.stop()
    server.should_exit = True
    thread.join(10)


@dataclass
class Chat:
    """The running chat as a test sees it."""

    app: ChatApp
    pilot: Pilot[Any]
    store: ConversationStore

    @property
    def screen(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def answer(self) -> str:
        turns = self.screen.conversation.turns
        return turns[-1].answer if turns else ""

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the screen shows:\n{self.text()}"
            await self.pilot.pause(0.02)

    async def send(self, prompt: str) -> None:
        """Press Enter on the prompt and wait until something came of it."""
        versions, self.screen._phase.last_hint = len(self.screen.conversation.tree), ""
        notices = len(self.screen.query("ErrorNotice"))
        await self.write(prompt)
        await self.pilot.press("enter")
        await self.until(
            lambda: (
                len(self.screen.conversation.tree) > versions
                or bool(self.screen.last_hint)
                or len(self.screen.query("ErrorNotice")) > notices
            )
        )

    async def write(self, prompt: str) -> None:
        self.screen.query_one("Composer").insert(prompt)  # type: ignore[attr-defined]
        await self.pilot.pause()

    async def answered(self) -> None:
        """The last prompt was taken and its answer has ended, one way or another."""
        await self.until(lambda: bool(self.screen.conversation.turns) and not self.busy)

    async def hinted(self, text: str) -> None:
        await self.until(lambda: text in self.screen.last_hint)

    @property
    def busy(self) -> bool:
        turns = self.screen.conversation.turns
        return self.screen._answering is not None or bool(turns and turns[-1].state == "answering")

    def text(self) -> str:
        """What stands on the topmost screen."""
        size = self.app.size
        lines = self.app.screen._compositor.render_strips(size)
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    def saved(self) -> Any:
        return self.store.load(self.screen.conversation.id)


OpenChat = Callable[..., Any]


@pytest.fixture
def open_chat(engine: tuple[str, FakeBackend], tmp_path: Path) -> OpenChat:
    """`async with open_chat() as chat`: a chat, ready to be asked unless ready=False."""

    @asynccontextmanager
    async def opened(
        link: EngineLink | None = None, *, size: tuple[int, int] = (80, 24), ready: bool = True, **settings: Any
    ) -> AsyncIterator[Chat]:
        store = ConversationStore(tmp_path / "conversations.db")
        link = link if link is not None else RemoteEngine(engine[0], "secret")
        app = ChatApp(link, ChatSettings(**settings), store)
        try:
            async with app.run_test(size=size) as pilot:
                chat = Chat(app, pilot, store)
                if ready:
                    await chat.until(lambda: chat.screen.info is not None)
                yield chat
        finally:
            link.close()
            store.close()

    return opened


@pytest.fixture
def no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about models: what counts them takes seconds of a core, so it is not asked."""

    async def unknown(unloading: int | None = None) -> None:
        raise DsparkError("Nobody looked.")

    monkeypatch.setattr("dspark_tui.models_desk.read_facts", unknown)


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AllFacts]:
    """`facts("RTX 4090", qwen3_4b="verified")` lets the chat see that computer with these models on it."""
    from dspark_local.commands.list_fit import fit_object  # torch, which the other tests of the chat do without
    from dspark_local.plan import source
    from tests.local.plan.machines import PROFILES

    monkeypatch.setattr(source, "find_source", _found_once(source.find_source))
    monkeypatch.setattr("dspark_local.store.installed.installed", lambda: [])

    def given(computer: str, disk_free: int = 10**12, **installed: str) -> AllFacts:
        document = _counted(fit_object, PROFILES, computer, disk_free)
        for model in document["models"]:
            if state := installed.get(model["name"].replace("-", "_")):
                whole = model["download"]["bytes"]
                here = whole if state != "incomplete" else whole // 4 + 1
                sizes = {"present_bytes": here, "expected_bytes": whole, "bytes": here}
                model["installed"] = {"state": state, "path": "/nowhere", **sizes}
        found = AllFacts.model_validate(document)

        async def read(unloading: int | None = None) -> AllFacts:
            return found

        monkeypatch.setattr("dspark_tui.models_desk.read_facts", read)
        return found

    return given


_documents: dict[tuple[str, int], str] = {}
_sources: dict[tuple[str, bool], Any] = {}


def _found_once(find_source: Callable[..., Any]) -> Callable[..., Any]:
    """Counting a large model's tensors takes half a second, and what comes out does not depend on the computer."""

    def find(text: str, *, dtype: str, on_card: bool, resolver: Any) -> Any:
        if (text, on_card) not in _sources:
            _sources[text, on_card] = find_source(text, dtype=dtype, on_card=on_card, resolver=resolver)
        return _sources[text, on_card]

    return find


def _counted(fit_object: Callable[..., Any], computers: Any, computer: str, disk_free: int) -> Any:
    """What the command says of a computer without models."""
    if (computer, disk_free) not in _documents:
        machine = replace(computers[computer], disk_free_bytes=disk_free)
        _documents[computer, disk_free] = json.dumps(fit_object(machine, "/nowhere"))
    return json.loads(_documents[computer, disk_free])
