"""Which conversation sits in which sequence. The one unused for longest gives way when all are taken."""

from __future__ import annotations

from dspark_local.engine.session import Session
from dspark_models.protocols import Drafter, Target


class SessionPool:
    """At most `capacity` sessions, by conversation id; None is the id of everybody who gives none."""

    def __init__(self, target: Target, drafter: Drafter | None, capacity: int) -> None:
        self._target = target
        self._drafter = drafter
        self._capacity = capacity
        self._sessions: dict[str | None, Session] = {}  # oldest use first

    def session(self, conversation_id: str | None, *, drafting: bool) -> Session:
        """The conversation's session, with what its caches hold, or an empty one.

        A session that was opened for plain decoding has no draft context; asking it to draft starts it afresh.
        """
        drafting = drafting and self._drafter is not None
        session = self._sessions.pop(conversation_id, None)
        if session is not None and drafting and session.drafter is None:
            session.close()
            session = None
        if session is None:
            session = self.scratch(drafting=drafting)
        self._sessions[conversation_id] = session
        return session

    def scratch(self, *, drafting: bool = False) -> Session:
        """An empty session that belongs to no conversation; the caller closes it."""
        while len(self._sessions) >= self._capacity:
            self._sessions.pop(next(iter(self._sessions))).close()
        return Session(self._target, self._drafter if drafting else None)

    def close(self) -> None:
        """Give every sequence back."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
