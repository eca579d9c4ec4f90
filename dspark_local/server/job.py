"""One request on its way through the worker, and why it may be turned away. Nothing of HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dspark_local.errors import DsparkError
from dspark_local.events import Event, Finished
from dspark_local.request import ChatRequest, TokenRequest


class QueueFullError(DsparkError):
    """More requests are waiting than the queue holds."""

    code = "queue_full"


class ModelLoadingError(DsparkError):
    """The model is not loaded yet."""

    code = "model_loading"


@dataclass(eq=False)
class Job:
    """A request and what comes back. `arrivals` is read by the event loop that submitted it.

    submitted_at is in seconds of time.monotonic.
    """

    request: ChatRequest | TokenRequest
    loop: asyncio.AbstractEventLoop
    arrivals: asyncio.Queue[Event | DsparkError] = field(default_factory=asyncio.Queue)
    submitted_at: float = field(default_factory=time.monotonic)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask the engine to stop; it notices within one step. Safe from any thread, and more than once."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """True once cancel() was called."""
        return self._cancelled.is_set()

    def deliver(self, item: Event | DsparkError) -> None:
        """Hand an item to the event loop; called by the engine thread."""
        try:
            self.loop.call_soon_threadsafe(self.arrivals.put_nowait, item)
        except RuntimeError:  # the loop has closed: nobody is left to read
            self.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """Every event up to and including Finished. Raises the DsparkError that ended the job."""
        while True:
            item = await self.arrivals.get()
            if isinstance(item, DsparkError):
                raise item
            yield item
            if isinstance(item, Finished):
                return
