"""An encoded conversation as pieces that remember who wrote them."""

from __future__ import annotations

from typing import NamedTuple


class Segment(NamedTuple):
    """A piece of a prompt.

    In markup, written by the encoder, spellings of special tokens are those tokens. In content, written by a person, a
    tool or the model in an earlier turn, they are plain text: nobody can open a turn by typing its token.
    """

    text: str
    is_markup: bool


def markup(text: str) -> Segment:
    """A piece written by the encoder."""
    return Segment(text, True)


def content(text: str) -> Segment:
    """A piece that came from outside."""
    return Segment(text, False)


def joined(separator: Segment, groups: list[list[Segment]]) -> list[Segment]:
    """All groups in order with the separator between neighbours."""
    out: list[Segment] = []
    for index, group in enumerate(groups):
        if index:
            out.append(separator)
        out.extend(group)
    return out
