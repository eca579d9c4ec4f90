"""The part of the chat that decides how this conversation asks: presets, system prompt, sampling."""

from __future__ import annotations

from textual import work
from textual.widgets import Static

from dspark_local.errors import UsageError
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.conversation import Conversation
from dspark_tui.engine_link import EngineLink
from dspark_tui.presets import apply_preset, changed, in_force, preset_of
from dspark_tui.sampling_screen import SamplingScreen
from dspark_tui.settings_file import Preset, load_settings
from dspark_tui.store import ConversationStore

_SAID_SECONDS = 5.0


class InForceLine(Static):
    """One line above the box while this conversation asks in another way than the model's own; a click changes it."""

    DEFAULT_CSS = "InForceLine { height: 1; padding: 0 2; color: $text-muted; text-wrap: nowrap; display: none; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.words = ""

    def show(self, words: str, key: str) -> None:
        """Say `words` after the key that changes them; nothing hides the line."""
        if words != self.words:
            self.words = words
            self.display = bool(words)
            self.update(f"{key} {words}")

    async def on_click(self) -> None:
        """Open the settings."""
        await self.run_action("screen.sampling")


class PresetsPart(AskingScreen):
    """What is chosen goes into Conversation.settings and holds for the answers to come."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._in_force = InForceLine()
        self.entered.append(self._begin_with_default)
        self._begin_with_default(self.conversation, self.conversation)

    async def on_mount(self) -> None:
        """Take the place above the box."""
        await self._above_box.mount(self._in_force)

    def draw(self) -> None:
        """Keep the line of what is in force."""
        super().draw()
        self._in_force.show(in_force(self.conversation.settings), self.keys.first("sampling"))

    def _begin_with_default(self, left: Conversation, entered: Conversation) -> None:
        """A new conversation asks as the default preset says, except for what the command line said."""
        name = self._settings.file.default_preset
        if entered.tree or entered.settings or name not in self._settings.file.presets:
            return
        preset = self._settings.file.presets[name]
        if (temperature := self._settings.temperature) is not None:
            preset = preset.model_copy(update={"temperature": temperature})
        self._use(preset, name)

    def _use(self, preset: Preset, name: str = "") -> None:
        apply_preset(self.conversation.settings, preset, name)
        if preset.thinking is not None:
            self.thinking = preset.thinking
        if self.conversation.tree:
            self._store.keep(self.conversation)
        if self.is_attached:
            self.draw()

    @work(exclusive=True, group="dialog")
    async def action_sampling(self) -> None:
        """The screen of all of it."""
        settings = self.conversation.settings
        preset = preset_of({**settings, "thinking": self.thinking})
        chosen = await self.app.push_screen_wait(
            SamplingScreen(preset, str(settings.get("preset", "")), self.info, self._settings.temperature)
        )
        if chosen is not None:
            self._use(chosen.preset, chosen.name)
            self.hint("It holds from the next answer on.")

    # ---- slash commands

    def slash_system(self, argument: str) -> None:
        """Set the system prompt; nothing takes it away."""
        self._change("system_prompt", argument)

    def slash_preset(self, argument: str) -> None:
        """Ask as a preset says; nothing goes back to the model's own."""
        name, presets = argument.strip(), load_settings().presets
        if not name:
            self._use(Preset())
            self.hint("The model's own settings hold from the next answer on.")
        elif name in presets:
            self._use(presets[name], name)
            self.hint(f"Preset {name}: {in_force(self.conversation.settings)}.", _SAID_SECONDS)
        else:
            known = ", ".join(sorted(presets)) or f"none yet; {self.keys.first('sampling')} saves one"
            self.hint(f"There is no preset {name!r}. There are: {known}.", _SAID_SECONDS)

    def slash_temp(self, argument: str) -> None:
        """Set the temperature."""
        self._change("temperature", argument)

    def slash_top_p(self, argument: str) -> None:
        """Set top_p."""
        self._change("top_p", argument)

    def slash_top_k(self, argument: str) -> None:
        """Set top_k."""
        self._change("top_k", argument)

    def slash_min_p(self, argument: str) -> None:
        """Set min_p."""
        self._change("min_p", argument)

    def slash_repetition(self, argument: str) -> None:
        """Set the repetition penalty."""
        self._change("repetition_penalty", argument)

    def slash_max_tokens(self, argument: str) -> None:
        """Set the limit of an answer's tokens."""
        self._change("max_tokens", argument)

    def slash_seed(self, argument: str) -> None:
        """Set the seed."""
        self._change("seed", argument)

    def slash_effort(self, argument: str) -> None:
        """Set how much the model thinks, and let it think."""
        if self._change("reasoning_effort", argument) and argument.strip():
            self.thinking = True

    def _change(self, name: str, argument: str) -> bool:
        settings = self.conversation.settings
        try:
            preset = changed(preset_of(settings), name, argument)
        except UsageError as error:
            self.hint(str(error), _SAID_SECONDS)
            return False
        self._use(preset)
        said = in_force(settings) or "the model's own settings"
        self.hint(f"From the next answer on: {said}.", _SAID_SECONDS)
        return True
