"""A backend that answers one request after another, seen as one that answers several, with a single slot."""

from __future__ import annotations

from collections.abc import Iterator

from dspark_local.backend import Backend, BatchingBackend, Cancelled
from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished
from dspark_local.request import ChatRequest, TokenRequest


class OneAtATime:
    """begin and step as BatchingBackend has them. A step is one event."""

    slots = 1

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._events: Iterator[Event] | None = None
        self._number = 0

    def begin(self, request: ChatRequest | TokenRequest, cancelled: Cancelled) -> int:
        """See BatchingBackend."""
        if self._events is not None:
            raise RuntimeError("the one slot is taken")
        if isinstance(request, TokenRequest):
            self._events = iter(self._backend.complete(request, cancelled))
        else:
            self._events = iter(self._backend.chat(request, cancelled))
        self._number += 1
        return self._number

    def step(self) -> Iterator[tuple[int, Event | DsparkError]]:
        """See BatchingBackend."""
        if self._events is None:
            return
        item: Event | DsparkError | None
        try:
            item = next(self._events, None)
        except DsparkError as error:
            item = error
        except BaseException:
            self._events = None
            raise
        if item is None:
            item = DsparkError("The engine ended the answer without finishing it.")
        if isinstance(item, Finished | DsparkError):
            self._events = None
        yield self._number, item


def batching(backend: Backend) -> BatchingBackend | OneAtATime:
    """The backend itself if it answers several requests at once."""
    return backend if isinstance(backend, BatchingBackend) else OneAtATime(backend)
