"""How every screen looks, at three sizes in a dark and a light theme. RENEW_SNAPSHOTS=1 writes the pictures anew."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES

from dspark_tui.readable import readable_variables
from tests.tui.snapshots.picture import Picture, Pictures, contrast, differences, runs
from tests.tui.snapshots.scenes import Stage, scenes, stage

FOLDER = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = ("textual-dark", "textual-light")
RENEWS = bool(os.environ.get("RENEW_SNAPSHOTS"))
PATIENCE_SECONDS = 5.0
STILL_SECONDS = 1.5
READABLE = 4.5  # WCAG 2, level AA


async def settled(on: Stage, expected: Picture | None, patience: float) -> Picture:
    """The screen once it looks as expected, or has looked the same for a while."""
    deadline = time.monotonic() + patience
    shown, since = Picture((), ()), time.monotonic()
    while time.monotonic() < deadline:
        await on.pilot.pause()
        now = Picture.of(on.app)
        if now == expected:
            break
        if now != shown:
            shown, since = now, time.monotonic()
        elif expected is None and time.monotonic() - since > STILL_SECONDS:
            break
        await on.pilot.pause(0.03)
    return now


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
async def test_every_screen_looks_as_it_was_approved(size: tuple[int, int], tmp_path: Path) -> None:
    folder = FOLDER / "{}x{}".format(*size)
    found, seen = list[str](), set[str]()
    async with stage(tmp_path, size) as on:
        async for scene in scenes(on):
            path, taken = folder / f"{scene}.txt", dict[str, Picture]()
            seen.add(path.name)
            kept = Pictures.read(path).by_theme if path.exists() and not RENEWS else {}
            for theme in THEMES:
                on.app.theme = theme
                # A screen that differs is seldom alone: the others are not waited for as long.
                taken[theme] = await settled(on, kept.get(theme), 1.0 if found else PATIENCE_SECONDS)
                if not RENEWS and (told := differences(kept.get(theme, Picture((), ())), taken[theme])):
                    found.append("\n".join([f"{folder.name}/{scene} in {theme}:", *told]))
            on.app.theme = THEMES[0]
            if RENEWS:
                folder.mkdir(exist_ok=True)
                path.write_text(Pictures(taken).written(), encoding="utf-8")
    if RENEWS:
        for path in folder.glob("*.txt"):
            if path.name not in seen:
                path.unlink()
    assert not found, "\n\n".join([*found, "If that is how it shall look: RENEW_SNAPSHOTS=1, and look at the diff."])
    assert {path.name for path in folder.glob("*.txt")} == seen


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
def test_every_word_can_be_read_on_its_background(size: tuple[int, int]) -> None:
    for path in (FOLDER / "{}x{}".format(*size)).glob("*.txt"):
        if path.stem == "palette":  # what lies behind it is dimmed on purpose
            continue
        for theme, picture in Pictures.read(path).by_theme.items():
            for row, column, words, style in runs(picture):
                if any(map(str.isalnum, words)):
                    where = f"{path.stem} in {theme}, row {row + 1}, column {column + 1}: {words!r} is {style}"
                    assert contrast(style) >= READABLE, where


@pytest.mark.parametrize("name", sorted(BUILTIN_THEMES))
def test_the_colours_of_words_can_be_read_in_every_theme(name: str) -> None:
    theme = BUILTIN_THEMES[name]
    given = {**theme.to_color_system().generate(), **theme.variables}
    mended = readable_variables(given, dark=theme.dark)
    if mended == given:
        assert "ansi" in name, "only the terminal's own colours are left as they are"
        return
    for word in ("primary", "accent", "warning", "error", "success"):
        for ground in ("background", "surface", "panel"):
            assert contrast(f"{mended[f'text-{word}']} on {given[ground]}".lower()) >= READABLE, (word, ground)


def test_a_picture_survives_its_file_and_a_difference_is_told_by_place_words_and_colours(tmp_path: Path) -> None:
    plain, bold = "#ffffff on #000000", "#ffffff on #000000 bold"
    picture = Picture(("a 世 b", ""), ((plain,) * 6, (plain,) * 6))
    path = tmp_path / "picture.txt"
    path.write_text(Pictures({"textual-dark": picture}).written(), encoding="utf-8")
    assert Pictures.read(path).by_theme == {"textual-dark": picture}
    changed = Picture(picture.text, ((plain, plain, bold, bold, plain, plain), picture.styles[1]))
    assert differences(picture, changed) == [f"row 1, columns 3-4 '世': {plain} -> {bold}"]
    assert differences(picture, Picture(("a 世 c", ""), picture.styles))[-2:] == ["+a 世 c", " "]
