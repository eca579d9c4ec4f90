"""Which sequence answers a request: the one whose caches already hold the longest part of its prompt.

No conversation id is needed for that; clients that send the whole conversation each time find their own sequence. One
that is answering belongs to its answer alone. What is reused changes time, never output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspark_local.engine.session import Session
from dspark_models.protocols import Drafter, Target

NOTEWORTHY = 32
"""Tokens. All prompts begin alike; to have fewer than this in common is no reason to give up what a sequence holds."""


@dataclass(slots=True)
class _Place:
    session: Session
    conversation_id: str | None = None
    is_busy: bool = False


class SessionPool:
    """At most `capacity` sessions: those that answer, and those that keep what they answered."""

    def __init__(self, target: Target, drafter: Drafter | None, capacity: int) -> None:
        self._target = target
        self._drafter = drafter
        self._capacity = capacity
        self._places: list[_Place] = []  # least recently used first

    @property
    def busy(self) -> int:
        """Sessions that are answering."""
        return sum(place.is_busy for place in self._places)

    def take(self, prompt: Sequence[int], *, conversation_id: str | None = None, drafting: bool = False) -> Session:
        """A session for the prompt, until it is given back. RuntimeError when all of them are answering.

        conversation_id decides between sequences that are worth the same. A session that was opened for plain decoding
        has no draft context and cannot be taken for drafting.
        """
        drafting = drafting and self._drafter is not None
        place = self._to_go_on_with(prompt, conversation_id, drafting)
        if place is None:
            place = _Place(self.scratch(drafting=drafting))
        else:
            self._places.remove(place)
        place.conversation_id, place.is_busy = conversation_id, True
        self._places.append(place)
        return place.session

    def _to_go_on_with(self, prompt: Sequence[int], conversation_id: str | None, drafting: bool) -> _Place | None:
        """The idle session with most of the prompt, of equal ones that which loses least; None: rather an empty one."""
        best, best_worth = None, (0, 0, 0)
        for place in self._places:
            if place.is_busy or (drafting and place.session.drafter is None):
                continue
            cached = place.session.reusable(prompt)
            is_its_own = conversation_id is not None and place.conversation_id == conversation_id
            lost = 0 if is_its_own else place.session.length - cached
            worth = (cached // NOTEWORTHY, -lost, cached)
            if best is None or worth > best_worth:
                best, best_worth = place, worth
        noteworthy, gain, _ = best_worth
        return best if noteworthy or gain == 0 else None

    def give_back(self, session: Session, *, is_sound: bool = True) -> None:
        """The answer is over. A session that is not sound, because its answer failed, forgets everything."""
        place = next(place for place in self._places if place.session is session)
        self._places.remove(place)
        if not is_sound:
            session.close()
            return
        place.is_busy = False
        self._places.append(place)

    def scratch(self, *, drafting: bool = False) -> Session:
        """An empty session outside the pool, in the place of the least recently used one; the caller closes it.

        RuntimeError when all sessions are answering.
        """
        if len(self._places) >= self._capacity:
            self._make_room()
        return Session(self._target, self._drafter if drafting else None)

    def _make_room(self) -> None:
        oldest = next((place for place in self._places if not place.is_busy), None)
        if oldest is None:
            raise RuntimeError(f"all {self._capacity} sequences are answering")
        self._places.remove(oldest)
        oldest.session.close()

    def close(self) -> None:
        """Give every sequence back."""
        for place in self._places:
            place.session.close()
        self._places.clear()
