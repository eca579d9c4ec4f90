"""The state of one conversation: what was said, and how each answer ended. Plain data; knows no widget and no engine.

What was said is a tree of turns: editing a prompt or asking again adds a version beside the old one, and nothing is
thrown away. One path through the tree is visible; it is what widgets show and what is sent to the model.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from dspark_local.request import ChatMessage
from dspark_tui.attachments import Attachment, with_files

TurnState = Literal["answering", "complete", "length", "stopped", "interrupted"]
TITLE_CHARS = 60


def new_id() -> str:
    """32 hexadecimal digits that nobody else has."""
    return uuid.uuid4().hex


@dataclass
class Turn:
    """One prompt and its answer. thinking_seconds is None until the reasoning has ended.

    state: complete; length (the token limit or the context ended it); stopped by the person; interrupted by a failure,
    which interruption says in a few words, empty when the program itself ended. first_token_seconds is 0 until known.
    model is what answered, empty where nobody noted it; `a, b` where b went on with the answer of a.
    id is the answer's, prompt_id the prompt's, which further answers to it share; parent_id is the turn before, None
    for the first.
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
    id: str = field(default_factory=new_id)
    prompt_id: str = field(default_factory=new_id)
    parent_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    first_token_seconds: float = 0.0
    interruption: str = ""
    model: str = ""

    @property
    def sent(self) -> str:
        """What the model is sent: the files, then the prompt."""
        return with_files(self.prompt, self.attachments)

    @property
    def is_cut_off(self) -> bool:
        """True when the answer ended before its end, and something of it is there to go on from."""
        return self.state in ("stopped", "interrupted", "length") and not self.is_empty

    @property
    def is_empty(self) -> bool:
        """True while nothing of the answer has arrived, not even reasoning."""
        return not self.answer and not self.reasoning


@dataclass
class Conversation:
    """`tree` holds every turn, oldest first; `turns` the visible path through it. `id` also names the cached prefix.

    name is the title that a person gave, empty while the first words serve. settings is what travels with it: thinking
    and what else a preset holds.
    """

    id: str = field(default_factory=new_id)
    created_at: float = field(default_factory=time.time)
    model: str = ""
    turns: list[Turn] = field(default_factory=list)
    tree: list[Turn] = field(default_factory=list)
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    _shown_before: list[Turn] = field(default_factory=list, repr=False, compare=False)

    def begin(self, prompt: str, attachments: tuple[Attachment, ...] = ()) -> Turn:
        """Add a turn that waits for its answer at the end of the visible path."""
        return self._add(Turn(prompt, attachments=attachments), len(self.turns))

    def edit(self, turn: Turn, prompt: str, attachments: tuple[Attachment, ...] | None = None) -> Turn:
        """A version of a visible `turn` with another prompt; what followed the old one stays with the old one.

        attachments None keeps the turn's own.
        """
        files = turn.attachments if attachments is None else attachments
        return self._add(Turn(prompt, attachments=files), self.turns.index(turn))

    def regenerate(self, turn: Turn) -> Turn:
        """A version of a visible `turn` with the same prompt, to be answered again."""
        again = Turn(turn.prompt, prompt_id=turn.prompt_id, attachments=turn.attachments)
        return self._add(again, self.turns.index(turn))

    def _add(self, turn: Turn, position: int) -> Turn:
        self._shown_before = list(self.turns)
        del self.turns[position:]
        turn.parent_id = self.turns[-1].id if self.turns else None
        self.turns.append(turn)
        self.tree.append(turn)
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Take back the newest turn, which never got an answer; the path is what it was before."""
        self.tree = [other for other in self.tree if other is not turn]
        self.turns[:] = self._shown_before

    @property
    def has_several_models(self) -> bool:
        """Whether not all answers are of one model."""
        return len({turn.model for turn in self.tree if turn.model}) > 1

    def versions(self, turn: Turn) -> list[Turn]:
        """The turns that stand at the same place, oldest first, `turn` among them."""
        return [other for other in self.tree if other.parent_id == turn.parent_id]

    def select(self, turn: Turn) -> None:
        """Make the path that leads through `turn`, and from there always to the newest, the visible one."""
        by_id = {other.id: other for other in self.tree}
        newest = {other.parent_id: other for other in self.tree}
        path, above = [turn], turn.parent_id
        while above is not None:
            path.append(by_id[above])
            above = by_id[above].parent_id
        path.reverse()
        while (below := newest.get(path[-1].id)) is not None:
            path.append(below)
        self.turns[:] = path

    def messages(self) -> tuple[ChatMessage, ...]:
        """What the model is sent to answer the last turn, or to go on with what is there of its answer.

        An earlier turn that was ended before its answer began is left out: an empty answer would teach the model to
        give empty answers.
        """
        system = self.settings.get("system_prompt")
        messages = [ChatMessage("system", system)] if isinstance(system, str) and system else []
        for turn in self.turns[:-1]:
            if turn.answer:
                if turn.sent:
                    messages.append(ChatMessage("user", turn.sent))
                messages.append(ChatMessage("assistant", turn.answer, reasoning=turn.reasoning or None))
        if self.turns:
            last = self.turns[-1]
            messages.append(ChatMessage("user", last.sent))
            if not last.is_empty:
                messages.append(ChatMessage("assistant", last.answer, reasoning=last.reasoning or None, prefix=True))
        return tuple(messages)

    @property
    def title(self) -> str:
        """The name, else the first words of the first prompt, else an empty string."""
        if self.name:
            return self.name
        words = " ".join(next((turn.prompt for turn in self.tree if turn.prompt.strip()), "")[:1000].split())
        if len(words) <= TITLE_CHARS:
            return words
        cut = words[: TITLE_CHARS - 1]
        return (cut.rpartition(" ")[0] if " " in cut[TITLE_CHARS // 2 :] else cut) + "…"

    @property
    def updated_at(self) -> float:
        """When the newest turn began, in seconds since 1970."""
        return max((turn.started_at for turn in self.tree), default=self.created_at)

    @property
    def last_answer(self) -> str:
        """The newest answer on the path that has any text, else an empty string."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer), "")
