"""What the chat knows and does about models, without a screen: facts, downloads, checks, removals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dspark_local.errors import DsparkError
from dspark_local.sizes import format_bytes
from dspark_tui.downloads import Downloads
from dspark_tui.downloads_state import DownloadState
from dspark_tui.facts_memory import keep_facts, recalled_facts
from dspark_tui.model_commands import run_json
from dspark_tui.model_facts import AllFacts, Download, ModelFacts, read_facts


class ModelsDesk:
    """facts is None until they were read once; damaged holds names whose files were found wrong in this chat."""

    def __init__(self, ended: Callable[[DownloadState], None], engine_pid: Callable[[], int | None]) -> None:
        self.facts: AllFacts | None = None
        self.problem = ""
        self.downloads = Downloads(self._download_ended)
        self.damaged: set[str] = set()
        self.verifying: set[str] = set()
        self.last_words = ""
        """What happened last, for whoever looks."""
        self._ended = ended
        self._engine_pid = engine_pid
        self._reading: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()

    # ---- facts

    async def refresh(self) -> None:
        """Read the facts; several who ask at once share one reading."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            self.facts, self.problem = await read_facts(self._engine_pid()), ""
        except DsparkError as error:
            self.problem = str(error)
        else:
            keep_facts(self.facts)

    def recall(self) -> None:
        """Take what was known the last time, where nothing is known yet; refresh() follows."""
        if self.facts is None:
            self.facts = recalled_facts()

    def refresh_soon(self) -> None:
        """Read again, nobody waits."""
        self._keep(self.refresh())

    @property
    def models(self) -> tuple[ModelFacts, ...]:
        """All that are known, with those that are on their way and no catalogue lists."""
        known = self.facts.models if self.facts is not None else ()
        names = {model.name for model in known}
        return known + tuple(_unknown(state) for state in self.downloads.states.values() if state.name not in names)

    # ---- doing

    def pull(self, model: str, *, insists: bool = False) -> DownloadState:
        """Download, or continue."""
        self.damaged.discard(model)
        return self.downloads.pull(model, insists=insists)

    def verify(self, name: str) -> None:
        """Hash all files again, beside everything else."""
        if name not in self.verifying:
            self.verifying.add(name)
            self._keep(self._verify(name))

    async def _verify(self, name: str) -> None:
        try:
            report = await run_json("verify", name)
        except DsparkError as error:
            self.last_words = str(error)
        else:
            wrong = report.get("wrong") or []
            if wrong:
                self.damaged.add(name)
                self.last_words = f"{name}: {len(wrong)} of its files are not what was recorded. p fetches them again."
            elif not report.get("complete", True):
                self.last_words = f"{name}: what is here is sound, but files are missing. p fetches them."
            else:
                self.damaged.discard(name)
                size = format_bytes(float(report.get("bytes", 0)))
                self.last_words = f"{name}: all {report.get('checked', 0)} files are as recorded ({size})."
        finally:
            self.verifying.discard(name)
        await self.refresh()

    async def remove(self, name: str) -> None:
        """Free its disk. Raises DsparkError."""
        answer = await run_json("rm", name, "--yes")
        self.downloads.forget(name)
        self.damaged.discard(name)
        self.last_words = f"{name} is removed, {format_bytes(float(answer.get('freed_bytes', 0)))} are free again."
        await self.refresh()

    async def close(self) -> None:
        """Pause the downloads, drop everything else."""
        tasks = [*self._work, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.downloads.close()

    # ---- telling

    def state_of(self, model: ModelFacts, in_use: str) -> str:
        """One or two words on where a model stands."""
        state = self.downloads.states.get(model.name)
        if state is not None and state.stage != "done":
            share = f" {int(100 * state.share)} %" if state.total else ""
            return {"starting": "downloading", "running": "downloading"}.get(state.stage, state.stage) + share
        if model.name in self.verifying:
            return "being checked"
        if model.name in self.damaged:
            return "damaged"
        if model.name == in_use:
            return "in use"
        return _at_rest(model)

    def _download_ended(self, state: DownloadState) -> None:
        if state.stage == "done":
            self.last_words = f"{state.name} is here and checked."
        self.refresh_soon()
        self._ended(state)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _unknown(state: DownloadState) -> ModelFacts:
    return ModelFacts(
        name=state.name,
        title="",
        is_bundled=False,
        runs=True,
        licence="",
        note="",
        download=Download(bytes=state.total or None, is_whole=True),
        plan_problem="What it is shows when it is here.",
    )


def _at_rest(model: ModelFacts) -> str:
    here = model.installed
    if model.is_bundled or (here is not None and here.state == "verified"):
        return "ready"
    if here is None:
        return "not here"
    if here.state == "unverified":
        return "ready, unchecked"
    whole = here.expected_bytes or model.download.bytes
    return f"partly, {int(100 * min(here.present_bytes / whole, 1))} %" if whole else "partly here"
