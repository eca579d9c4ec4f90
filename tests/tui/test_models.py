"""The list of models: what it tells, and switching, checking and removing by its keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from dspark_local.commands.freeing import bytes_of_process, without_process
from dspark_tui.engine_link import LocalEngine, RemoteEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.model_facts import AllFacts, read_facts
from dspark_tui.models_desk import ModelsDesk
from dspark_tui.models_remote_screen import RemoteModelsScreen
from dspark_tui.models_screen import ModelsScreen
from dspark_tui.plan_screen import PlanScreen
from tests.local.hub.stand_in_hub import StandInHub, environment, random_folder
from tests.local.plan.machines import PROFILES
from tests.tui.conftest import FAKE_ENGINE

GivenFacts = Callable[..., AllFacts]
SIZES = [(80, 24), (160, 45)]
COMMAND = (sys.executable, "-P", "-m", "dspark_local")


async def open_models(chat: Any) -> ModelsScreen:
    await chat.pilot.press("f5")
    await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen) and chat.app.screen.chosen is not None)
    await chat.pilot.pause()
    return chat.app.screen  # type: ignore[no-any-return]


async def choose(chat: Any, name: str) -> ModelsScreen:
    screen = await open_models(chat)
    screen._list.highlighted = next(at for at, model in enumerate(screen._shown) if model.name == name)
    await chat.pilot.pause()
    assert screen.chosen is not None
    assert screen.chosen.name == name
    return screen


def local() -> LocalEngine:
    return LocalEngine(EngineOptions(), command=FAKE_ENGINE)


# ---- the facts


async def test_the_list_says_of_each_model_what_its_plan_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    found = await read_facts()
    model = found.find("deepseek-v4-flash-0731")
    assert model is not None
    assert model.plan is not None
    answer = subprocess.run([*COMMAND, "plan", model.name, "--json"], capture_output=True, text=True, check=False)
    plan = json.loads(answer.stdout)
    assert (model.plan.verdict, model.plan.context) == (plan["verdict"], plan["context"])
    assert model.plan.disk_needed == plan["disk"]["needed"]
    assert model.runs == plan["runs"]
    # Memory that is free changes from one second to the next, and the experts in RAM with it.
    assert model.plan.needs["ram"] == pytest.approx(sum(plan["placement"]["ram"].values()), rel=0.2)
    assert found.find("demo") is not None
    unplanned = [each.name for each in found.models if each.plan is None]
    assert all("gguf" in name or "gemma" in name for name in unplanned)


def test_what_a_process_holds_counts_as_free_once_it_is_to_end() -> None:
    script = "held = b'x' * 200_000_000; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        machine = PROFILES["RTX 4090"].with_ram(64 * 2**30)
        idle = without_process(machine, process.pid)
        busy = without_process(type(machine)(None, 2**40, 2**30, 1.0, 1.0), process.pid)
        process.communicate("\n")
    assert idle.ram_free_bytes == machine.ram_free_bytes, "never more than there is"
    assert 200_000_000 < busy.ram_free_bytes - 2**30 < 300_000_000
    assert without_process(machine, process.pid) == machine


def test_graphics_memory_of_one_process_is_summed_over_the_cards() -> None:
    assert bytes_of_process("12, 100\n13, 5\n12, 50\n12, [N/A]\nno such thing\n", 12) == 150 * 2**20


# ---- the screen


@pytest.mark.parametrize("size", SIZES)
async def test_every_model_shows_with_size_state_and_fit_and_the_keys_within_the_screen(
    open_chat: Any, facts: GivenFacts, size: tuple[int, int]
) -> None:
    facts("RTX 4090", deepseek_v4_flash="verified", qwen3_4b="incomplete", qwen3_8b="unverified")
    async with open_chat(local(), size=size) as chat:
        screen = await open_models(chat)
        text = chat.text()
        assert len(screen._shown) == 14
        for words in ("card (24 GiB), 128 GiB of RAM", "in use", "ready", "partly, 25 %", "ready, unchecked"):
            assert words in text
        for key in ("Use", "Pull", "Pause", "Verify", "Delete", "Plan", "Find", "Back"):
            assert key in text
        (line,) = [line for line in text.splitlines() if line.strip().startswith("deepseek-v4-flash ")]
        assert "159.6 GB" in line
        assert "tok/s" in line
        if size[0] > 100:
            assert "with its draft" in line
            assert "does not run it" in text


async def test_the_chosen_model_is_explained_with_where_it_lies_and_what_the_speeds_are_of(
    open_chat: Any, facts: GivenFacts
) -> None:
    facts("RTX 4090", 10**9)
    async with open_chat(local()) as chat:
        await choose(chat, "deepseek-v4-flash-0731")
        text = " ".join(chat.text().split())
        assert "GiB on the card" in text
        assert "165.9 GB too few" in text
        assert "This release computes in plain torch and is slower" in text
        await chat.pilot.press("escape")
        await choose(chat, "qwen3-4b")
        assert "the engine of this version does not run it" in " ".join(chat.text().split())


async def test_a_search_narrows_the_list_and_esc_leaves_it_first(open_chat: Any, facts: GivenFacts) -> None:
    facts("RTX 4090")
    async with open_chat(local()) as chat:
        screen = await open_models(chat)
        await chat.pilot.press("slash", *"pro", "space", *"0813")
        await chat.until(lambda: [model.name for model in screen._shown] == ["deepseek-v4-pro-0813"])
        assert screen.query_one(Input).has_focus
        await chat.pilot.press("escape")
        await chat.until(lambda: len(screen._shown) == 14)
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)


async def test_enter_switches_and_the_conversation_goes_on_with_the_other_model(
    open_chat: Any, facts: GivenFacts
) -> None:
    facts("RTX 4090", deepseek_v4_flash="verified")
    async with open_chat(local()) as chat:
        await chat.send("echo before")
        await chat.answered()
        process = chat.screen._link._process
        await choose(chat, "deepseek-v4-flash")
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.screen._link.options == EngineOptions(model="deepseek-v4-flash"))
        await chat.until(lambda: chat.screen.info is not None and chat.screen._link._process is not process)
        assert process._process.poll() is not None, "two models would share the memory"
        assert chat.screen.in_use == "deepseek-v4-flash"
        await chat.send("echo after")
        await chat.answered()
        assert [turn.answer for turn in chat.screen.conversation.turns] == ["before", "after"]
        await open_models(chat)
        (line,) = [line for line in chat.text().splitlines() if line.strip().startswith("deepseek-v4-flash ")]
        assert "in use" in line


async def test_a_switch_is_refused_while_it_answers_and_the_answer_goes_on(open_chat: Any, facts: GivenFacts) -> None:
    facts("RTX 4090", deepseek_v4_flash="verified")
    async with open_chat(LocalEngine(EngineOptions(), command=(*FAKE_ENGINE, "--pass-seconds", "0.02"))) as chat:
        await chat.send("endless")
        await chat.until(lambda: "word20" in chat.answer)
        await choose(chat, "deepseek-v4-flash")
        await chat.pilot.press("enter")
        await chat.hinted("Still answering")
        assert chat.screen._link.options == EngineOptions()
        so_far = len(chat.answer)
        await chat.until(lambda: len(chat.answer) > so_far)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("qwen3-4b", "/pull qwen3-4b fetches it"),
        ("deepseek-v4-flash-gguf", "does not run it"),
        ("no-such", "No model no-such is here or known"),
        ("demo", "in use already"),
    ],
)
async def test_slash_model_says_why_it_does_not_switch(
    open_chat: Any, facts: GivenFacts, argument: str, words: str
) -> None:
    facts("RTX 4090", deepseek_v4_flash_gguf="verified")
    async with open_chat(local()) as chat:
        chat.screen.slash_model(argument)
        await chat.hinted(words)
        assert chat.screen._link.options == EngineOptions()


async def test_what_does_not_fit_is_fetched_only_when_asked_twice(
    open_chat: Any, facts: GivenFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = facts("RTX 3060")
    name = next(m.name for m in found.models if m.plan and m.plan.verdict == "does_not_fit")
    async with open_chat(local()) as chat:
        pulled: list[tuple[str, bool]] = []
        monkeypatch.setattr(chat.screen.desk, "pull", lambda name, insists: pulled.append((name, insists)))
        await choose(chat, name)
        await chat.pilot.press("p")
        assert not pulled
        assert "too few. Press p once more" in " ".join(chat.text().split())
        await chat.pilot.press("p")
        assert pulled == [(name, True)]


async def test_deleting_asks_and_refuses_what_is_in_use(
    open_chat: Any, facts: GivenFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts("RTX 4090", deepseek_v4_flash="verified", qwen3_4b="verified")
    removed: list[str] = []

    async def remove(name: str) -> None:
        removed.append(name)

    async with open_chat(LocalEngine(EngineOptions(model="deepseek-v4-flash"), command=FAKE_ENGINE)) as chat:
        monkeypatch.setattr(chat.screen.desk, "remove", remove)
        await choose(chat, "deepseek-v4-flash")
        await chat.pilot.press("d", "d")
        assert "is in use: switch to another model first" in chat.text()
        await chat.pilot.press("escape")
        screen = await choose(chat, "qwen3-4b")
        await chat.pilot.press("d")
        assert "Delete qwen3-4b, 10.8 GB? d once more" in chat.text()
        await chat.pilot.press("down", "up")  # who moves on has not agreed
        await chat.pilot.press("d")
        assert not removed
        await chat.pilot.press("d")
        await chat.until(lambda: removed == ["qwen3-4b"])
        assert screen.is_attached


async def test_space_shows_the_page_of_the_plan(open_chat: Any, facts: GivenFacts) -> None:
    facts("RTX 4090")
    async with open_chat(local()) as chat:
        await choose(chat, "demo")
        await chat.pilot.press("space")
        await chat.until(lambda: isinstance(chat.app.screen, PlanScreen) and "Expected speed" in chat.text(), 60)
        assert "demo on " in chat.text()
        await chat.pilot.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen))


# ---- files that were damaged


async def test_a_flipped_byte_is_found_told_and_mended_and_the_rest_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_facts: None
) -> None:
    name = "owner/model"
    with StandInHub() as hub:
        hub.add(name, random_folder(tmp_path / "source", {"model.safetensors": 300_000}))
        for key, value in environment(hub, tmp_path).items():
            if key.startswith(("HF_", "DSPARK_")):
                monkeypatch.setenv(key, value)
        desk = ModelsDesk(lambda state: None, lambda: None)

        async def worked(condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 40
            while not condition():
                assert time.monotonic() < deadline, desk.last_words
                await asyncio.sleep(0.02)

        desk.pull(name)
        await worked(lambda: desk.downloads.states[name].is_over)
        (weights,) = (tmp_path / "hf").rglob("snapshots/*/model.safetensors")
        with weights.resolve().open("r+b") as stream:
            stream.write(b"\xff")
        desk.verify(name)
        await worked(lambda: name not in desk.verifying)
        assert name in desk.damaged
        assert desk.last_words == f"{name}: 1 of its files are not what was recorded. p fetches them again."
        desk.pull(name)
        await worked(lambda: desk.downloads.states[name].is_over)
        assert desk.downloads.states[name].stage == "done", desk.downloads.states[name].problem
        desk.verify(name)
        await worked(lambda: name not in desk.verifying)
        assert "files are as recorded" in desk.last_words
        assert name not in desk.damaged
        await desk.remove(name)
        assert "removed" in desk.last_words
        assert not list((tmp_path / "hf").rglob("model.safetensors"))
        await desk.close()


# ---- other servers


@pytest.fixture
def two_models() -> Iterator[tuple[str, list[str]]]:
    """A server of the bare OpenAI kind that offers two models and notes which one is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            models = [{"id": name, "object": "model"} for name in ("small", "large")]
            self._send(json.dumps({"object": "list", "data": models}).encode(), "application/json")

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"])
            choice = {"index": 0, "delta": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self._send(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


async def test_a_server_with_several_models_is_asked_for_the_chosen_one(
    open_chat: Any, two_models: tuple[str, list[str]]
) -> None:
    url, asked = two_models
    async with open_chat(RemoteEngine(url, None)) as chat:
        await chat.send("first")
        await chat.answered()
        footer = chat.screen.query(".footer").first(Static)
        assert "small" not in str(footer.content)
        await chat.pilot.press("f5")
        await chat.until(lambda: isinstance(chat.app.screen, RemoteModelsScreen) and "large" in chat.text())
        await chat.pilot.press("down", "enter")
        await chat.hinted("The next answer comes from large.")
        await chat.send("second")
        await chat.answered()
        chat.screen.slash_model("small")
        await chat.hinted("The next answer comes from small.")
        await chat.send("third")
        await chat.answered()
        assert asked == ["small", "large", "small"]
        footers = [str(footer.content) for footer in chat.screen.query(".footer").results(Static)]
        assert [footer.rpartition(" · ")[2] for footer in footers] == ["small", "large", "small"]
        assert [turn.model for turn in chat.saved().turns] == ["small", "large", "small"]
        assert chat.screen.conversation.model == "small"
        chat.screen.slash_model("huge")
        await chat.hinted("The server offers no huge, but small, large.")


async def test_what_was_known_the_last_time_is_listed_until_it_is_counted_anew(
    open_chat: Any, facts: Callable[..., AllFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = facts("RTX 4090", qwen3_4b="verified")
    counted = asyncio.Event()

    async def slow(unloading: int | None = None) -> AllFacts:
        await counted.wait()
        return known

    link = LocalEngine(EngineOptions(), command=FAKE_ENGINE)
    async with open_chat(link) as chat:
        await chat.pilot.press("f5")
        await chat.until(lambda: "qwen3-4b" in chat.text())
    monkeypatch.setattr("dspark_tui.models_desk.read_facts", slow)
    link = LocalEngine(EngineOptions(model="demo"), command=FAKE_ENGINE)
    async with open_chat(link) as chat:
        await chat.pilot.press("f5")
        await chat.until(lambda: "qwen3-4b" in chat.text() and "As it was the last time" in chat.text())
        counted.set()
        await chat.until(lambda: "the last time" not in chat.text())


async def test_the_chosen_model_answers_after_a_new_connection_too(
    open_chat: Any, two_models: tuple[str, list[str]]
) -> None:
    url, asked = two_models
    async with open_chat(RemoteEngine(url, None)) as chat:
        chat.screen.slash_model("large")
        await chat.hinted("The next answer comes from large.")
        before = chat.screen._link.client
        chat.screen.connect()
        await chat.until(lambda: chat.screen._link.client is not before and chat.screen.info is not None)
        await chat.send("first")
        await chat.answered()
        assert asked == ["large"]
