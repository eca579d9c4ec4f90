"""The state of one conversation: what was said, and how each answer ended. Plain data; knows no widget and no engine.

This is the truth that widgets show, that is written to disk and that is sent to the model.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dspark_local.request import ChatMessage

TurnState = Literal["answering", "complete", "length", "stopped", "interrupted"]
FORMAT = 1


@dataclass
class Turn:
    """One prompt and its answer. thinking_seconds is None until the reasoning has ended.

    state: complete; length (the token limit or the context ended it); stopped by the person; interrupted by a failure.
    """

    prompt: str
    reasoning: str = ""
    answer: str = ""
    state: TurnState = "answering"
    started_at: float = field(default_factory=time.time)
    thinking_seconds: float | None = None
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
    accepted_length: float = 0.0

    @property
    def is_empty(self) -> bool:
        """True while nothing of the answer has arrived, not even reasoning."""
        return not self.answer and not self.reasoning


@dataclass
class Conversation:
    """Turns in order. `id` also names the cached prefix on the server."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_at: float = field(default_factory=time.time)
    model: str = ""
    turns: list[Turn] = field(default_factory=list)

    def begin(self, prompt: str) -> Turn:
        """Add a turn that waits for its answer."""
        turn = Turn(prompt)
        self.turns.append(turn)
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Take back a turn that never got an answer."""
        self.turns.remove(turn)

    def messages(self) -> tuple[ChatMessage, ...]:
        """What the model is sent to continue with the last turn.

        An earlier turn that was ended before its answer began is left out: an empty answer would teach the model to
        give empty answers.
        """
        messages: list[ChatMessage] = []
        for turn in self.turns[:-1]:
            if turn.answer:
                reasoning = turn.reasoning or None
                messages += [
                    ChatMessage("user", turn.prompt),
                    ChatMessage("assistant", turn.answer, reasoning=reasoning),
                ]
        if self.turns:
            messages.append(ChatMessage("user", self.turns[-1].prompt))
        return tuple(messages)

    @property
    def last_answer(self) -> str:
        """The newest answer that has any text, else an empty string."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer), "")

    def to_json(self) -> dict[str, Any]:
        """The form on disk."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> Conversation:
        """Read the form on disk. An answer that a crash cut off counts as interrupted. Raises ValueError."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"not a conversation of format {FORMAT}")
        try:
            turns = [Turn(**turn) for turn in data["turns"]]
            for turn in turns:
                if turn.state == "answering":
                    turn.state = "interrupted"
            return cls(data["id"], data["created_at"], data["model"], turns)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a conversation: {error}") from error
