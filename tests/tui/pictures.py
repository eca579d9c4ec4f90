"""Makes the README's pictures anew: `python -m tests.tui.pictures` writes tui/pictures/*.svg.

Nothing in them is staged but the size of the screen: the bundled demo answers, with the figures of this machine, and
the models are planned for a computer with a 24 GiB card and 128 GiB of RAM.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from dspark_local.commands.list_fit import fit_object
from dspark_tui.app import ChatApp
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.engine_link import LocalEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.model_facts import AllFacts
from dspark_tui.store import ConversationStore
from tests.local.plan.machines import PROFILES

FOLDER = Path(__file__).resolve().parents[2] / "tui" / "pictures"
ANSWER_SECONDS = 120.0
QUESTIONS = ("What is speculative decoding?", "What is 27 + 48?", "What is the Markov head?")


async def _take(name: str, size: tuple[int, int], questions: tuple[str, ...], *keys: str) -> None:
    """One picture: questions with their answers, then keys."""
    store, link = ConversationStore(), LocalEngine(EngineOptions())
    app = ChatApp(link, ChatSettings(), store)
    app.animation_level = "none"
    try:
        async with app.run_test(size=size) as pilot:
            await _until(pilot, lambda: app.chat.info is not None)
            for number, question in enumerate(questions, 1):
                app.chat._composer.insert(question)
                await pilot.press("enter")
                await _until(
                    pilot,
                    lambda number=number: len(app.chat.conversation.turns) == number and not app.chat.is_answering,
                )
            await pilot.press(*keys)
            await pilot.pause(2.0)
            (FOLDER / f"{name}.svg").write_text(app.export_screenshot(title="dspark-chat", simplify=True) + "\n")
    finally:
        link.close()
        store.close()


async def _until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("The demo did not answer in time.")
        await pilot.pause(0.05)


async def main() -> None:
    """All of them, in a state folder of their own."""
    machine = replace(PROFILES["RTX 4090"], disk_free_bytes=10**12)
    facts = AllFacts.model_validate(fit_object(machine, "/nowhere"))

    async def read(unloading: int | None = None) -> AllFacts:
        return facts

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr("dspark_tui.models_desk.read_facts", read)
        os.environ |= {"DSPARK_HOME": home, "HF_HOME": home}
        await _take("chat", (80, 24), QUESTIONS[:2])
        await _take("engine", (140, 36), QUESTIONS, "f9")
        await _take("models", (120, 30), (), "f5", "down")


if __name__ == "__main__":
    asyncio.run(main())
