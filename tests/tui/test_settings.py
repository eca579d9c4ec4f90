from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from dspark_local.errors import UsageError
from dspark_tui.app import terminal_theme
from dspark_tui.settings_example import example
from dspark_tui.settings_file import ChatFile, Preset, load_settings, save_settings, settings_path

HAND_WRITTEN = """\
# how I like it
theme = "nord"   # dark

[keys]
new = "ctrl+b"

[presets.brief]
system_prompt = \"\"\"
Be
brief.\"\"\"
temperature = 0   # no dice
"""


def test_without_a_file_every_setting_has_its_default_and_nothing_is_written() -> None:
    assert load_settings() == ChatFile()
    assert not settings_path().exists()


def test_a_hand_written_file_is_read_whole() -> None:
    settings_path().write_text(HAND_WRITTEN)
    settings = load_settings()
    assert (settings.theme, settings.keymap, settings.problems) == ("nord", {"new": "ctrl+b"}, ())
    assert settings.presets == {"brief": Preset(system_prompt="Be\nbrief.", temperature=0)}


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("colour = 1", "colour: there is no such setting"),
        ("them = 'x'", "them: there is no such setting; did you mean theme?"),
        ("notify = 'yes'", "notify: input should be a valid boolean."),
        ("problems = ['x']", "problems: there is no such setting."),
        ("default_preset = 'breif'", "default_preset: no preset 'breif' is there; did you mean brief?"),
        ("presets.warm.temperature = 3", "presets.warm.temperature: input should be less than or equal to 2."),
        ("presets.warm.temperatur = 1", "presets.warm.temperatur: there is no such setting; did you mean"),
        ("keys.stop = 3", "keys.stop: input should be a valid string."),
        ("presets.warm = 3", "presets.warm: input should be a valid dictionary"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file_and_line_and_the_rest_holds(line: str, place: str) -> None:
    top, keys, presets = HAND_WRITTEN.partition("[keys]")[0], 'keys.new = "ctrl+b"\n', "presets.brief.system_prompt"
    text = top + keys + f'{presets} = """\nBe\nbrief."""\npresets.brief.temperature = 0\n\n\n\n{line}\n'
    settings_path().write_text(text)
    settings = load_settings()
    assert len(settings.problems) == 1
    assert f"{settings_path()}, line {len(text.splitlines())}: {place}" in settings.problems[0]
    assert settings.theme == "nord"
    assert settings.keymap == {"new": "ctrl+b"}
    assert settings.presets == {"brief": Preset(system_prompt="Be\nbrief.", temperature=0)}


def test_several_wrong_entries_are_all_named_in_the_order_of_their_lines() -> None:
    settings_path().write_text("notify = 3\ncolour = 1\n[keys]\nstop = 1\nnew = 'f12'\n")
    settings = load_settings()
    assert [problem.split(": ")[0].split()[-1] for problem in settings.problems] == ["1", "2", "4"]
    assert settings.keymap == {"new": "f12"}


@pytest.mark.parametrize("text", ["theme = \n", "keys = 1\n", "presets = 'x'\n", "\x00", ""])
def test_no_file_however_broken_keeps_the_chat_from_starting(text: str) -> None:
    settings_path().write_text(text)
    settings = load_settings()
    assert settings.model_copy(update={"problems": ()}) == ChatFile()
    assert bool(settings.problems) == bool(text)


def test_a_file_that_is_no_text_or_no_file_is_told_of() -> None:
    settings_path().write_bytes(b"\xff\xfe")
    assert "cannot be read" in load_settings().problems[0]
    settings_path().unlink()
    settings_path().mkdir()
    assert "cannot be read" in load_settings().problems[0]


def test_saving_changes_its_entries_and_leaves_comments_and_order_alone() -> None:
    settings_path().write_text(HAND_WRITTEN)
    save_settings({"theme": "dracula", "presets": {"warm": Preset(temperature=1.5), "brief": {"temperature": None}}})
    text = settings_path().read_text()
    assert text.startswith('# how I like it\ntheme = "dracula"   # dark\n\n[keys]\nnew = "ctrl+b"\n')
    settings = load_settings()
    assert settings.problems == ()
    assert settings.presets == {"brief": Preset(system_prompt="Be\nbrief."), "warm": Preset(temperature=1.5)}
    save_settings({"presets": {"warm": None}, "keys": {"new": None}})
    assert list(load_settings().presets) == ["brief"]
    assert load_settings().keymap == {}


def test_a_file_that_cannot_be_understood_is_never_written_over() -> None:
    settings_path().write_text("theme = \n")
    with pytest.raises(UsageError, match="cannot be understood"):
        save_settings({"theme": "nord"})
    assert settings_path().read_text() == "theme = \n"


def test_a_link_to_a_file_kept_elsewhere_stays_a_link(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("# mine\n")
    settings_path().symlink_to(kept)
    save_settings({"theme": "nord"})
    assert settings_path().is_symlink()
    assert kept.read_text() == '# mine\ntheme = "nord"\n'


def test_the_settings_are_private() -> None:
    save_settings({"presets": {"secret": Preset(system_prompt="x")}})
    assert settings_path().stat().st_mode & 0o777 == 0o600


def test_the_example_holds_nothing_and_uncommented_it_is_right() -> None:
    assert tomllib.loads(example()) == {}
    lines = [line.removeprefix("# ") for line in example().splitlines()[2:]]
    settings_path().write_text("\n".join(lines))
    settings = load_settings()
    assert settings.problems == ()
    assert settings.default_preset == "precise"
    assert settings.keymap["conversations"] == "ctrl+o"


@pytest.mark.parametrize(
    ("told", "theme"),
    [("0;15", "textual-light"), ("0;default;7", "textual-light"), ("15;0", "textual-dark"), ("", "textual-dark")],
)
def test_the_first_theme_follows_what_the_terminal_tells(
    told: str, theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORFGBG", told)
    assert terminal_theme() == theme


async def test_the_chat_starts_with_the_theme_of_the_file_and_tells_once_what_is_wrong_in_it(open_chat: Any) -> None:
    settings_path().write_text('theme = "nord"\nnotfy = true\n[keys]\nnwe = "f12"\n')
    async with open_chat(file=load_settings()) as chat:
        assert chat.app.theme == "nord"
        await chat.until(lambda: "line 2: notfy: there is no such setting; did you mean notify?" in chat.text())
        assert "keys.nwe: there is no such action; did you mean new?" in chat.text()
        await chat.send("echo one")
        await chat.answered()
        await chat.until(lambda: "notfy" not in chat.text())


async def test_an_unknown_theme_is_told_of_and_the_default_stays(open_chat: Any) -> None:
    async with open_chat(file=ChatFile(theme="nrod")) as chat:
        await chat.until(lambda: "There is no theme nrod. Did you mean nord?" in chat.text())
        assert chat.app.theme == "textual-dark"
