"""The models: here and to be had. Search, switch, download, check, remove, see the plan."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from dspark_local.errors import DsparkError
from dspark_local.sizes import format_bytes
from dspark_tui.model_facts import ModelFacts
from dspark_tui.models_desk import ModelsDesk
from dspark_tui.plan_screen import PlanScreen
from dspark_tui.widgets.model_line import about, lacking, model_line

_TICK_SECONDS = 0.5


class ModelsScreen(Screen[str | None]):
    """Gives the name of the model to switch to, or None. `in_use` is the one that answers now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "use", "Use", key_display="Enter", priority=True),
        Binding("p", "pull", "Pull"),
        Binding("x", "pause", "Pause"),
        Binding("v", "verify", "Verify"),
        Binding("d,delete", "remove", "Delete", key_display="d"),
        Binding("space", "details", "Plan", key_display="Space"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("escape", "back", "Back", key_display="Esc", priority=True),
        Binding("f5", "back", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    ModelsScreen > #machine { height: 1; padding: 0 2; text-style: bold; }
    ModelsScreen > #about { height: auto; min-height: 3; max-height: 8; padding: 0 2; color: $text-muted; }
    ModelsScreen > #about { border-top: solid $border-blurred; }
    ModelsScreen > #said { height: auto; min-height: 1; max-height: 3; padding: 0 2; color: $text-warning; }
    ModelsScreen > Input { border: none; padding: 0 1; height: 1; background: $surface; display: none; }
    ModelsScreen > Input.-open { display: block; }
    ModelsScreen > Footer { padding: 0 1; }
    ModelsScreen > OptionList { height: 1fr; background: $background; }
    """

    def __init__(self, desk: ModelsDesk, in_use: str, *, looked_for: str = "") -> None:
        super().__init__()
        self._desk = desk
        self._in_use = in_use
        self._shown: list[ModelFacts] = []
        self._wanted = looked_for
        self._asked = ("", "")
        self._told = ""
        self._machine = Static(id="machine", markup=False)
        self._search = Input(placeholder="Search models", compact=True)
        self._list = OptionList(compact=True, markup=False)
        self._about = Static(id="about", markup=False)
        self._said = Static(id="said", markup=False)

    def compose(self) -> ComposeResult:
        """The computer, the list, what is known of the chosen one, what happened, keys."""
        yield self._machine
        yield self._search
        yield self._list
        yield self._about
        yield self._said
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show what is known, and read it anew."""
        self._list.focus()
        self._told = self._desk.last_words
        if self._desk.facts is None:
            self._desk.recall()
            is_known = self._desk.facts is not None
            self.say(
                f"{'As it was the last time; looking' if is_known else 'Looking'} at this computer and its models …"
            )
        self.set_interval(_TICK_SECONDS, self._tick)
        self.call_after_refresh(self.redraw)
        self._read()

    @work(exclusive=True, group="facts")
    async def _read(self) -> None:
        await self._desk.refresh()
        self.say(self._desk.problem)
        self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        """Lines are made for a width."""
        self.call_after_refresh(self.redraw)

    def _tick(self) -> None:
        if self._desk.last_words != self._told:
            self._told = self._desk.last_words
            self.say(self._told)
        self.redraw()

    # ---- the list

    @property
    def chosen(self) -> ModelFacts | None:
        """The highlighted model."""
        at = self._list.highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def redraw(self) -> None:
        """Bring every line up to date; what is highlighted stays so."""
        facts = self._desk.facts
        if facts is None or not self.is_attached:
            return
        free = facts.machine.disk_free
        room = f", {format_bytes(free)} of disk free" if free is not None else ""
        self._machine.update(f"This computer: {facts.machine.title}{room}")
        words = self._search.value.casefold().split()
        found = [model for model in self._ordered() if all(word in _searched(model) for word in words)]
        width = max(self._list.scrollable_content_region.width - 4, 20)
        lines = [model_line(model, self._desk.state_of(model, self._in_use), width) for model in found]
        if [model.name for model in found] != [model.name for model in self._shown]:
            name = self._wanted or (self.chosen.name if self.chosen else "")
            self._shown = found
            self._list.clear_options()
            self._list.add_options(Option(line, id=model.name) for line, model in zip(lines, found, strict=True))
            names = [model.name for model in found]
            if names:
                self._list.highlighted = names.index(name) if name in names else 0
            self._wanted = "" if name in names else self._wanted
        else:
            self._shown = found
            for at, line in enumerate(lines):
                if self._list.get_option_at_index(at).prompt != line:
                    self._list.replace_option_prompt_at_index(at, line)
        self._describe()

    def _ordered(self) -> list[ModelFacts]:
        """What is here or on its way first, then what this version runs, then the rest."""
        states = self._desk.downloads.states

        def rank(model: ModelFacts) -> int:
            if model.name == self._in_use:
                return 0
            if model.installed or model.is_bundled or model.name in states:
                return 1
            return 2 if model.runs else 3

        return sorted(self._desk.models, key=rank)

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        self._asked = ("", "")  # who moves on has not agreed
        self._describe()

    def _describe(self) -> None:
        if (model := self.chosen) is not None and self._desk.facts is not None:
            state = self._desk.downloads.states.get(model.name)
            line = f"{state.line()}\n" if state is not None and state.stage != "done" else ""
            self._about.update(line + about(model, self._desk.facts))
        elif self._desk.facts is not None:
            self._about.update("No model has these words. Esc shows all of them.")

    def say(self, text: str) -> None:
        """Tell what happened, in the line above the keys."""
        self._said.update(text)

    # ---- keys

    @on(Input.Changed)
    def _narrow(self) -> None:
        self.redraw()

    def action_search(self) -> None:
        """Type to narrow the list."""
        self._search.add_class("-open")
        self._search.focus()

    def on_key(self, event: events.Key) -> None:
        """Arrows move in the list while the search has the keys."""
        if event.key in ("up", "down") and self._search.has_focus:
            (self._list.action_cursor_up if event.key == "up" else self._list.action_cursor_down)()
            event.stop()

    def action_back(self) -> None:
        """Leave the search, then the screen."""
        if self._search.has_class("-open"):
            self._search.value = ""
            self._search.remove_class("-open")
            self._list.focus()
        else:
            self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.say("Enter uses it, or fetches it when it is not here.")

    def action_use(self) -> None:
        """Switch to the chosen model, or fetch it."""
        if self._search.has_focus:
            self._list.focus()
        model = self.chosen
        if model is None:
            return
        if not model.is_here:
            self.action_pull()
        elif not model.runs:
            self.say(f"{model.name} is here, but the engine of this version does not run it.")
        elif model.name in self._desk.damaged:
            self.say(f"{model.name} is damaged: p fetches what is wrong again.")
        elif model.name == self._in_use:
            self.say(f"{model.name} is in use already.")
        else:
            self.dismiss(model.name)

    def action_pull(self) -> None:
        """Download the chosen model, or continue."""
        model = self.chosen
        if model is None:
            return
        if model.is_here and model.name not in self._desk.damaged:
            self.say(f"{model.name} is {'part of this program' if model.is_bundled else 'here already'}.")
            return
        state = self._desk.downloads.states.get(model.name)
        if state is not None and not state.is_over:
            self.say(f"{model.name} is on its way: {state.line()}. x pauses it.")
            return
        insists = bool(model.plan and model.plan.verdict == "does_not_fit")
        insists = insists or (state is not None and state.code == "out_of_memory")
        if insists and not self._once_more("pull", model.name):
            why = lacking(model.plan) if model.plan and not model.plan.speed else "it does not fit"
            self.say(f"{model.name} does not fit this computer: {why}. Press p once more to fetch it all the same.")
            return
        self._desk.pull(model.name, insists=insists)
        kept = "" if model.runs else " It is fetched and kept; the engine of this version does not run it."
        self.say(f"Fetching {model.name}. The chat goes on meanwhile: Esc. x pauses.{kept}")
        self.redraw()

    def action_pause(self) -> None:
        """Pause a download; p continues it."""
        if (model := self.chosen) is not None:
            if self._desk.downloads.pause(model.name):
                self.say(f"{model.name} is paused; what has arrived stays. p continues, d removes it.")
            else:
                self.say(f"{model.name} is not being downloaded.")
            self.redraw()

    def action_verify(self) -> None:
        """Hash all files of the chosen model again."""
        if (model := self.chosen) is None:
            return
        if model.installed is None:
            self.say(
                "That is part of this program." if model.is_bundled else f"{model.name} is not here. p fetches it."
            )
        else:
            self._desk.verify(model.name)
            self.say(f"Reading all {format_bytes(model.installed.bytes)} of {model.name} …")
            self.redraw()

    def action_remove(self) -> None:
        """Free the disk of the chosen model, when asked twice."""
        if (model := self.chosen) is None:
            return
        state = self._desk.downloads.states.get(model.name)
        if model.is_bundled:
            self.say("The demo is a part of this program and goes with it.")
        elif model.name == self._in_use:
            self.say(f"{model.name} is in use: switch to another model first.")
        elif state is not None and not state.is_over:
            self.say(f"{model.name} is being downloaded: x first, then d.")
        elif model.installed is None:
            self.say(f"{model.name} is not here.")
        elif not self._once_more("remove", model.name):
            self.say(f"Delete {model.name}, {format_bytes(model.installed.bytes)}? d once more deletes it.")
        else:
            self._remove(model.name)

    @work(exclusive=True, group="remove")
    async def _remove(self, name: str) -> None:
        self.say(f"Deleting {name} …")
        try:
            await self._desk.remove(name)
        except DsparkError as error:
            self.say(str(error))
        self.redraw()

    def action_details(self) -> None:
        """The whole plan of the chosen model."""
        if (model := self.chosen) is not None:
            self.app.push_screen(PlanScreen(model.name))

    def _once_more(self, what: str, name: str) -> bool:
        """Whether the same was asked for just before."""
        again = self._asked == (what, name)
        self._asked = ("", "") if again else (what, name)
        return again


def _searched(model: ModelFacts) -> str:
    return f"{model.name} {model.title} {model.licence}".casefold()
