"""Which sequence answers a request: the one whose caches already hold the longest part of its prompt.

No conversation id is needed for that; clients that send the whole conversation each time find their own sequence. One
that is answering belongs to its answer alone, but its beginning can be copied. What is reused changes time, never
output.
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
        place, cached, lost = self._to_go_on_with(prompt, conversation_id, drafting)
        source = self._to_branch_from(prompt, drafting, place, cached, lost)
        if source is not None:
            place = _Place(self.scratch(drafting=drafting, besides=source))
            place.session.branch(source.session, prompt)
        elif place is None or (lost and cached < NOTEWORTHY):
            place = _Place(self.scratch(drafting=drafting))
        else:
            self._places.remove(place)
        place.conversation_id, place.is_busy = conversation_id, True
        self._places.append(place)
        return place.session

    def _to_go_on_with(
        self, prompt: Sequence[int], conversation_id: str | None, drafting: bool
    ) -> tuple[_Place | None, int, int]:
        """The idle session with most of the prompt, of equal ones that which loses least; tokens it has and loses."""
        best: tuple[_Place | None, int, int] = (None, 0, 0)
        for place in self._places:
            if place.is_busy or not self._serves(place, drafting):
                continue
            cached = place.session.reusable(prompt)
            is_its_own = conversation_id is not None and place.conversation_id == conversation_id
            lost = 0 if is_its_own else place.session.length - cached
            if best[0] is None or (cached // NOTEWORTHY, -lost, cached) > (best[1] // NOTEWORTHY, -best[2], best[1]):
                best = (place, cached, lost)
        return best

    def _to_branch_from(
        self, prompt: Sequence[int], drafting: bool, best: _Place | None, cached: int, lost: int
    ) -> _Place | None:
        """A session to copy the beginning from; None where it is as good to go on with `best`, the best idle one.

        To copy is better where it brings more, or where no more than instructions are shared, so that `best` would lose
        another conversation although an empty sequence is left.
        """
        has_room = len(self._places) < self._capacity
        idle = [place for place in self._places if not place.is_busy]
        usable = [
            place for place in self._places if self._serves(place, drafting) and (has_room or idle not in ([], [place]))
        ]
        shares = [place.session.shareable(prompt) // NOTEWORTHY for place in usable]
        most = max(shares, default=0)
        is_other = best is not None and lost >= NOTEWORTHY and cached <= best.session.landmark
        if most > cached // NOTEWORTHY or (most and most == cached // NOTEWORTHY and is_other and has_room):
            return usable[shares.index(most)]
        return None

    @staticmethod
    def _serves(place: _Place, drafting: bool) -> bool:
        return not drafting or place.session.drafter is not None

    def give_back(self, session: Session, *, is_sound: bool = True) -> None:
        """The answer is over. A session that is not sound, because its answer failed, forgets everything."""
        place = next(place for place in self._places if place.session is session)
        self._places.remove(place)
        if not is_sound:
            session.close()
            return
        place.is_busy = False
        self._places.append(place)

    def scratch(self, *, drafting: bool = False, besides: _Place | None = None) -> Session:
        """An empty session outside the pool, in the place of the least recently used one; the caller closes it.

        `besides` is spared. RuntimeError when all sessions are answering.
        """
        if len(self._places) >= self._capacity:
            self._make_room(besides)
        return Session(self._target, self._drafter if drafting else None)

    def _make_room(self, besides: _Place | None) -> None:
        oldest = next((place for place in self._places if not place.is_busy and place is not besides), None)
        if oldest is None:
            raise RuntimeError(f"all {self._capacity} sequences are answering")
        self._places.remove(oldest)
        oldest.session.close()

    def close(self) -> None:
        """Give every sequence back."""
        for place in self._places:
            place.session.close()
        self._places.clear()
