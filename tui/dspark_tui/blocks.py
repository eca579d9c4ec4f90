"""The pieces of a conversation that can be copied by themselves. Knows the text alone.

A fence gives its code without the fence, a table its Markdown, a message all of it as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from markdown_it import MarkdownIt

from dspark_tui.conversation import Turn

BlockKind = Literal["prompt", "answer", "code", "table"]


@dataclass(frozen=True, slots=True)
class Block:
    """text is what is copied. at counts the blocks of this kind within the turn's answer, from 0."""

    turn: Turn
    kind: BlockKind
    text: str
    language: str = ""
    at: int = 0

    @property
    def label(self) -> str:
        """Like `python code, 12 lines`."""
        name = {"prompt": "your message", "answer": "the whole answer", "table": "table"}.get(self.kind)
        lines = self.text.count("\n") + 1
        return f"{name or f'{self.language} code'.strip()}, {lines:,} line{'' if lines == 1 else 's'}"


def blocks_of(turns: Iterable[Turn]) -> list[Block]:
    """From top to bottom as they are read: each prompt, each answer, and the fences and tables in it."""
    found: list[Block] = []
    for turn in turns:
        if turn.prompt:
            found.append(Block(turn, "prompt", turn.prompt))
        if turn.answer:
            found.append(Block(turn, "answer", turn.answer))
            found += _parts(turn)
    return found


def last_code(turns: Iterable[Turn]) -> Block | None:
    """The last code block of the newest answer that has one."""
    return next((block for block in reversed(blocks_of(turns)) if block.kind == "code"), None)


def _parts(turn: Turn) -> list[Block]:
    lines = turn.answer.splitlines(keepends=True)
    found: list[Block] = []
    counts = {"code": 0, "table": 0}
    for token in MarkdownIt("gfm-like").parse(turn.answer):
        if token.type in ("fence", "code_block"):
            language = token.info.split()[0] if token.info.strip() else ""
            found.append(Block(turn, "code", token.content.removesuffix("\n"), language, counts["code"]))
            counts["code"] += 1
        elif token.type == "table_open" and token.map is not None:
            text = "".join(lines[slice(*token.map)]).rstrip("\n")
            found.append(Block(turn, "table", text, at=counts["table"]))
            counts["table"] += 1
    return found
