"""System prompt, sampling and thinking of this conversation, and the presets that hold such choices by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.screen import Screen
from textual.widgets import Footer, Input, Label, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from dspark_local.backend import ModelInfo
from dspark_local.errors import DsparkError
from dspark_tui.presets import SAMPLING, changed, sampling_of
from dspark_tui.settings_file import Preset, load_settings, save_settings
from dspark_tui.widgets.line_dialog import LineDialog

_OWN = "the model's own"
_NAMES = {"repetition_penalty": "repetition", "max_tokens": "max tokens", "reasoning_effort": "effort"}
_FIELDS = (*SAMPLING, "thinking", "reasoning_effort")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What holds from now on; name is the preset's that it is, empty for one's own mixture."""

    preset: Preset
    name: str


class SamplingScreen(Screen[Chosen | None]):
    """Gives what was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "apply", "Use", key_display="Ctrl+S", priority=True),
        Binding("f2", "save", "Save as preset", key_display="F2", priority=True),
        Binding("f8", "delete", "Delete preset", key_display="F8", priority=True),
        Binding("escape", "leave", "Cancel", key_display="Esc", priority=True),
    ]
    DEFAULT_CSS = """
    SamplingScreen > Horizontal { height: 1fr; min-height: 6; }
    SamplingScreen OptionList { width: 26; height: 1fr; border: round $border-blurred; background: $background; }
    SamplingScreen TextArea { width: 1fr; height: 1fr; border: round $border-blurred; background: $background; }
    SamplingScreen OptionList:focus, SamplingScreen TextArea:focus { border: round $border; }
    SamplingScreen > Grid { grid-size: 4; grid-columns: 13 1fr; grid-rows: 1; height: auto; padding: 0 2; }
    SamplingScreen > Grid { grid-gutter: 0 1; max-width: 104; }
    SamplingScreen Label { color: $text-muted; }
    SamplingScreen Input.-wrong { background: $error 30%; }
    SamplingScreen #said { height: 1; padding: 0 2; color: $text-muted; text-wrap: nowrap; }
    SamplingScreen #said.-wrong { color: $text-error; }
    """

    def __init__(self, preset: Preset, name: str, info: ModelInfo | None, temperature: float | None) -> None:
        super().__init__()
        self._preset = preset
        self._preset_name = name
        self._presets = load_settings().presets
        self._list = OptionList(markup=False)
        self._system = TextArea(preset.system_prompt, soft_wrap=True, tab_behavior="focus")
        own = sampling_of(Preset(), info, temperature) if info is not None else None
        self._inputs = {
            name: Input(
                _text(getattr(preset, name)), placeholder=_placeholder(name, own), compact=True, select_on_focus=True
            )
            for name in _FIELDS
        }
        self._said = Static(id="said", markup=False)

    def compose(self) -> ComposeResult:
        """Presets beside the system prompt, the numbers under them."""
        with Horizontal():
            yield self._list
            yield self._system
        with Grid():
            for name, box in self._inputs.items():
                yield Label(_NAMES.get(name, name))
                yield box
        yield self._said
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Where one begins depends on whether there are presets."""
        self._list.border_title = "Presets"
        self._system.border_title = "System prompt"
        self._fill_list()
        self._system.focus()
        self._say("An empty field takes the model's own value. Tab goes to the next field.")

    def _fill_list(self) -> None:
        names = [_OWN, *sorted(self._presets)]
        self._list.clear_options()
        self._list.add_options(Option(name, id=f"{number}") for number, name in enumerate(names))
        self._list.highlighted = names.index(self._preset_name) if self._preset_name in names else None

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._said.set_class(wrong, "-wrong")
        self._said.update(text)

    # ---- values

    @on(OptionList.OptionSelected)
    def _take_preset(self, event: OptionList.OptionSelected) -> None:
        name = str(event.option.prompt)
        self._preset_name = "" if name == _OWN else name
        self._show(self._presets.get(self._preset_name, Preset()))
        self._say(f"Preset {name}. Ctrl+S uses it.")

    def _show(self, preset: Preset) -> None:
        self._system.text = preset.system_prompt
        for name, box in self._inputs.items():
            box.value = _text(getattr(preset, name))

    def _read(self) -> Preset | None:
        """What the fields say; None after saying what is wrong with one."""
        preset = Preset()
        for name, text in (("system_prompt", self._system.text), *((n, b.value) for n, b in self._inputs.items())):
            try:
                preset = changed(preset, name, text)
            except DsparkError as error:
                self._say(str(error), wrong=True)
                self._inputs[name].focus()
                return None
        return preset

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Use what the fields say in this conversation."""
        if (preset := self._read()) is not None:
            is_named = self._presets.get(self._preset_name) == preset
            self.dismiss(Chosen(preset, self._preset_name if is_named else ""))

    def action_leave(self) -> None:
        """Leave everything as it was."""
        self.dismiss(None)

    @work(exclusive=True, group="dialog")
    async def action_save(self) -> None:
        """Keep what the fields say under a name."""
        if (preset := self._read()) is None:
            return
        name = await self.app.push_screen_wait(
            LineDialog("Save as", self._preset_name, "A preset of that name is replaced. It goes into chat.toml.")
        )
        if name is None or not (name := " ".join(name.split())):
            return
        if self._write({name: preset}):
            self._presets[name], self._preset_name = preset, name
            self._fill_list()
            self._say(f"Saved as {name}. Ctrl+S uses it here, /preset {name} anywhere.")

    def action_delete(self) -> None:
        """Take the highlighted preset out of chat.toml; the fields keep its values."""
        at = self._list.highlighted
        name = str(self._list.get_option_at_index(at).prompt) if at is not None else _OWN
        if name == _OWN:
            self._say("Choose the preset in the list first.")
        elif self._write({name: None}):
            del self._presets[name]
            self._preset_name = ""
            self._fill_list()
            self._say(f"{name} is deleted; F2 would save it again.")

    def _write(self, presets: dict[str, Preset | None]) -> bool:
        try:
            save_settings({"presets": presets})
        except (DsparkError, OSError) as error:
            self._say(str(error), wrong=True)
            return False
        return True


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _placeholder(name: str, own: object) -> str:
    if name == "thinking":
        return "on or off"
    if name == "reasoning_effort":
        return "high or max"
    value = getattr(own, name, None)
    return "none" if value is None else _text(value)
