"""Tags of DSML, the markup in which V4 writes tool calls: `<｜DSML｜invoke name="…">`, `</｜DSML｜invoke>`, ..."""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal, NamedTuple

from dspark_local.protocols.special_tokens import DSML

TAG_START = f"</?{DSML}"
"""Regular expression of how every tag begins."""

TagName = Literal["block", "invoke", "parameter"]

# The model is seen to shorten the block's name; older and newer releases have names of their own for it.
_NAMES: dict[str, TagName] = {
    "tool_calls": "block",
    "toolcalls": "block",
    "tool": "block",
    "calls": "block",
    "function_calls": "block",
    "invoke": "invoke",
    "parameter": "parameter",
}
_LONGEST_TAG = 1024
_NAME = re.compile(r"\s*([A-Za-z_]+)(?![\w])")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


class Tag(NamedTuple):
    """A tag that ends before `end`. is_whole is False when its `>` is missing."""

    name: TagName
    is_closing: bool
    attributes: dict[str, str]
    end: int
    is_whole: bool


class NoTag(Enum):
    """Why there is no tag: more text may complete it, or what follows the marker is no known tag."""

    NOT_YET = "not yet"
    NEVER = "never"


def read_tag(text: str, start: re.Match[str], *, final: bool) -> Tag | NoTag:
    """The tag that begins at `start`, a match of TAG_START in text. final: no more text will come."""
    end, closed = _find_end(text, start.end())
    if not closed and end == len(text) and not final and end - start.end() < _LONGEST_TAG:
        return NoTag.NOT_YET
    body = text[start.end() : end]
    word = _NAME.match(body)
    name = _NAMES.get(word[1]) if word else None
    if name is None:
        return NoTag.NEVER
    is_closing = start[0].startswith("</")
    return Tag(name, is_closing, dict(_ATTRIBUTE.findall(body)), end + closed, closed)


def _find_end(text: str, start: int) -> tuple[int, bool]:
    """Where the tag's inside ends and whether a `>` stands there; a line end or a new tag ends it too."""
    quoted = False
    limit = min(len(text), start + _LONGEST_TAG)
    for index in range(start, limit):
        character = text[index]
        if character == '"':
            quoted = not quoted
        elif character == "\n" or (character == "<" and not quoted):
            return index, False
        elif character == ">" and not quoted:
            return index, True
    return limit, False
