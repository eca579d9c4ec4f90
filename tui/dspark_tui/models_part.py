"""The part of the chat that switches models and downloads them beside the conversation."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

from textual import work

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.downloads_state import DownloadState
from dspark_tui.engine_link import EngineLink, LocalEngine, RemoteEngine
from dspark_tui.launcher import EngineOptions
from dspark_tui.models_desk import ModelsDesk
from dspark_tui.models_remote_screen import RemoteModelsScreen
from dspark_tui.models_screen import ModelsScreen
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.download_line import DownloadLine
from dspark_tui.widgets.welcome import Welcome

_DRAW_SECONDS = 0.5
_LONG_HINT_SECONDS = 6.0
_DEMO = "demo"
_BUSY = "Still answering: Esc stops it, then switch."


class ModelsPart(AskingScreen):
    """Models, downloads, and what a newcomer is told."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self.desk = ModelsDesk(self._download_ended, self._engine_pid)
        self._is_newcomer: bool | None = None
        self._latest = ""

    async def on_mount(self) -> None:
        """Watch the downloads."""
        self.set_interval(_DRAW_SECONDS, self._draw_downloads)

    async def on_unmount(self) -> None:
        """Pause what is under way, and say how it goes on."""
        unfinished = self.desk.downloads.unfinished
        await self.desk.close()
        if unfinished:
            commands = "\n".join(f"  dspark-local pull {name}" for name in unfinished)
            text = f"Downloads are kept as they are. They continue in the chat with F5, or with:\n{commands}"
            atexit.register(_say, text)  # the screen is still up, and stderr goes to the log until it is down

    # ---- the first minute

    @work(exclusive=True, group="newcomer")
    async def on_welcome_shown(self) -> None:
        """Tell somebody who has no model and no conversation what this computer can run, once the engine is up."""
        if self._is_newcomer is False or not isinstance(self._link, LocalEngine) or self._loading:
            return
        if self._kept or self._link.options.model is not None:
            self._is_newcomer = False
            return
        if self.desk.facts is None:
            await self.desk.refresh()
        facts = self.desk.facts
        self._is_newcomer = facts is not None and facts.has_no_model
        if facts is not None and self._is_newcomer:
            for welcome in self.query(Welcome):
                await welcome.tell_newcomer(facts)

    # ---- models

    @property
    def in_use(self) -> str:
        """The name by which the model that answers was asked for."""
        if isinstance(self._link, LocalEngine):
            return self._link.options.model or _DEMO
        return self.info.id if self.info is not None else ""

    def _engine_pid(self) -> int | None:
        return self._link.pid if isinstance(self._link, LocalEngine) else None

    @work(exclusive=True, group="models")
    async def action_models(self) -> None:
        """The list of models; what is chosen there is switched to."""
        if not self._link.can_switch:
            await self._choose_remote()
            return
        for line in self.query(DownloadLine):
            if line.state.is_over and line.state.stage != "paused":
                await line.remove()
        chosen = await self.app.push_screen_wait(
            ModelsScreen(self.desk, self.in_use, looked_for=self._latest or self._suggested())
        )
        self._composer.focus()
        if chosen is not None:
            await self.switch_to(chosen)

    def _suggested(self) -> str:
        for state in self.desk.downloads.states.values():
            if state.stage != "done":
                return state.name
        facts = self.desk.facts
        best = facts.recommended if facts is not None and facts.has_no_model else None
        return best.name if best is not None else ""

    async def switch_to(self, model: str) -> None:
        """Load another model; the conversation stays and goes on with it."""
        if self.is_answering:
            self.hint(_BUSY, _LONG_HINT_SECONDS)
            return
        if model == self._latest:
            self._latest = ""
        self.hint(f"Loading {model}; the conversation goes on with it.", _LONG_HINT_SECONDS)
        await self.switch_engine(EngineOptions(model=None if model == _DEMO else model))

    @work(exclusive=True, group="model by name")
    async def slash_model(self, argument: str) -> None:
        """Switch to the model of this name, or in this directory."""
        name = argument.strip()
        if not name:
            self.action_models()
        elif not self._link.can_switch:
            await self._switch_remote(name)
        elif (folder := Path(name).expanduser()).joinpath("config.json").is_file():
            await self.switch_to(str(folder.resolve()))
        else:
            await self._switch_by_name(name)

    async def _switch_by_name(self, name: str) -> None:
        if self.desk.facts is None:
            self.hint("Looking for it …", _LONG_HINT_SECONDS)
        await self.desk.refresh()
        model = self.desk.facts.find(name) if self.desk.facts is not None else None
        if model is None:
            why = (
                self.desk.problem or f"No model {name} is here or known. /models lists them; /pull {name} asks the hub."
            )
            self.hint(why, _LONG_HINT_SECONDS)
        elif not model.is_here:
            self.hint(f"{model.name} is not on this computer: /pull {model.name} fetches it.", _LONG_HINT_SECONDS)
        elif not model.runs:
            self.hint(f"{model.name} is here; the engine of this version does not run it.", _LONG_HINT_SECONDS)
        elif model.name == self.in_use:
            self.hint(f"{model.name} is in use already.")
        else:
            await self.switch_to(model.name)

    def slash_pull(self, argument: str) -> None:
        """Download a model of the catalogue, or owner/name."""
        name = argument.strip()
        if not name:
            self.action_models()
        elif not self._link.can_switch:
            self.hint("This server is somebody else's: models are not downloaded to it from here.", _LONG_HINT_SECONDS)
        else:
            self.desk.pull(name)
            self._draw_downloads()

    # ---- other servers

    async def _choose_remote(self) -> None:
        models = await self._remote_models()
        if models is None:
            return
        chosen = await self.app.push_screen_wait(RemoteModelsScreen(models, self.in_use))
        self._composer.focus()
        if chosen is not None:
            self._use_remote(next(model for model in models if model.id == chosen))

    async def _switch_remote(self, name: str) -> None:
        models = await self._remote_models()
        if models is None:
            return
        found = next((model for model in models if model.id == name), None)
        if found is None:
            self.hint(
                f"The server offers no {name}, but {', '.join(model.id for model in models)}.", _LONG_HINT_SECONDS
            )
        else:
            self._use_remote(found)

    async def _remote_models(self) -> list[ModelInfo] | None:
        """What the server offers; None when it cannot be asked, and then a hint says why."""
        if self._link.client is None:
            self.hint("There is no connection to a server yet.", _LONG_HINT_SECONDS)
            return None
        try:
            return await self._link.client.models()
        except DsparkError as error:
            self.hint(str(error), _LONG_HINT_SECONDS)
            return None

    def _use_remote(self, model: ModelInfo) -> None:
        if self.is_answering:
            self.hint(_BUSY, _LONG_HINT_SECONDS)
        elif isinstance(self._link, RemoteEngine):
            self._link.choose(model)
            self.info = model
            self.hint(f"The next answer comes from {model.id}.", _LONG_HINT_SECONDS)
            self.draw()

    # ---- downloads

    async def on_download_line_opened(self) -> None:
        """Show the models."""
        self.action_models()

    def _download_ended(self, state: DownloadState) -> None:
        if state.stage == "done":
            self._latest = state.name
        if self.is_attached:
            self._draw_downloads()

    def _draw_downloads(self) -> None:
        """One line for the one at work, one for each that ended until the models were looked at."""
        states = self.desk.downloads.states
        shown = {line.state.name: line for line in self.query(DownloadLine)}
        active = [state for state in states.values() if not state.is_over]
        at_work = next((state for state in active if state.stage != "queued"), None)
        width = max(self.size.width - 4, 10)
        for name, line in shown.items():
            if states.get(name) is not line.state:
                line.remove()
            elif line.state is at_work or line.state.is_over:
                line.show(len(active) - 1 if line.state is at_work else 0, width)
        if at_work is not None and at_work.name not in shown:
            line = DownloadLine(at_work)
            self._above_box.mount(line)
            line.show(len(active) - 1, width)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
