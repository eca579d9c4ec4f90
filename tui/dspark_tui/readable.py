"""Colours of a theme that stand for words, moved towards black or white until the words can be read."""

from __future__ import annotations

from textual.color import BLACK, WHITE, Color, ColorParseError

READABLE = 4.5
"""The contrast that WCAG 2 asks of text (level AA)."""

_WORDS = ("text-primary", "text-secondary", "text-accent", "text-warning", "text-error", "text-success")
_SAME = {
    "markdown-h1-color": "text-primary",
    "markdown-h2-color": "text-primary",
    "markdown-h3-color": "text-primary",
    "footer-key-foreground": "text-primary",
}
_QUIET_BORDER, _THUMB = 0.3, 0.3
_CHOSEN_DARK, _CHOSEN_LIGHT = 0.3, 0.06


def readable_variables(variables: dict[str, str], *, dark: bool) -> dict[str, str]:
    """Style-sheet variables of a theme, mended; those of a theme of the terminal's own colours stay as they are."""
    grounds = [_colour(variables, name) for name in ("background", "surface", "panel")]
    front, primary = _colour(variables, "foreground"), _colour(variables, "primary")
    known = [ground for ground in grounds if ground is not None]
    if len(known) < len(grounds) or front is None or primary is None:
        return variables
    background = known[0]
    mended = dict(variables)
    for name in _WORDS:
        if (colour := _colour(variables, name)) is not None:
            mended[name] = readable(colour, known, dark=dark).hex
    mended |= {name: mended[source] for name, source in _SAME.items()}
    mended["text-disabled"] = variables["text-muted"]  # what placeholders say is meant to be read
    mended["border-blurred"] = background.blend(front, _QUIET_BORDER).hex
    mended["block-cursor-blurred-background"] = background.blend(primary, _CHOSEN_DARK if dark else _CHOSEN_LIGHT).hex
    mended["scrollbar"] = background.blend(front, _THUMB).hex
    for name in ("scrollbar-background", "scrollbar-background-hover", "scrollbar-background-active"):
        mended[name] = mended["scrollbar-corner-color"] = variables["background"]
    return mended


def readable(colour: Color, grounds: list[Color], *, dark: bool) -> Color:
    """The nearest shade of `colour` whose contrast with every ground is READABLE; black or white where none is."""
    for step in range(20):
        shade = colour.blend(WHITE if dark else BLACK, step / 20)
        if all(contrast(shade, ground) >= READABLE for ground in grounds):
            return shade
    return WHITE if dark else BLACK


def contrast(one: Color, other: Color) -> float:
    """From 1 to 21, as WCAG 2 defines it."""
    light, shade = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (shade + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _colour(variables: dict[str, str], name: str) -> Color | None:
    """None where it is no fixed colour: one that follows what is behind it, or one of the terminal's own sixteen."""
    try:
        colour = Color.parse(variables.get(name, ""))
    except ColorParseError:
        return None
    return None if colour.ansi is not None or colour.auto else colour
