"""Which reasoning of earlier turns the model sees again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dspark_local.protocols.turns import Turn


def last_question(turns: Sequence[Turn]) -> int:
    """Index of the last user or developer turn, -1 without one."""
    return max((i for i, turn in enumerate(turns) if turn.is_question), default=-1)


def drops_thinking(turns: Sequence[Turn], requested: bool) -> bool:
    """A conversation with tools keeps all reasoning, whatever was requested: its steps build on one another."""
    return requested and not any(turn.message.tools for turn in turns)


def drop_old_thinking(turns: Sequence[Turn]) -> list[Turn]:
    """Before the last question: answers lose their reasoning and developer turns go. The rest stays."""
    last = last_question(turns)
    kept = [turn for i, turn in enumerate(turns) if i >= last or turn.role != "developer"]
    last = last_question(kept)
    return [
        replace(turn, message=replace(turn.message, reasoning=None)) if i < last and turn.role == "assistant" else turn
        for i, turn in enumerate(kept)
    ]
