"""The one interface behind which an engine stands. Nothing above it asks which engine it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dspark_local.errors import DsparkError
from dspark_local.events import Event
from dspark_local.request import ChatRequest, TokenRequest

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a person or a client needs to know of a loaded model.

    draft_block_size is 0 without a draft. numerics says in one line how it computes.
    """

    id: str
    context_length: int
    is_demo: bool = False
    draft_block_size: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    numerics: str = ""
    weight_bytes: int = 0
    recommended_temperature: float = 1.0
    recommended_top_p: float = 1.0
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """One step of loading a model: bytes mapped so far of all bytes on disk."""

    stage: str
    done_bytes: int
    total_bytes: int


class Backend(Protocol):
    """A loaded model that continues conversations; close() frees everything. All calls come from one thread."""

    info: ModelInfo

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        """Answer a conversation. `cancelled` is asked at least once a target pass. Raises DsparkError."""
        ...

    def complete(self, request: TokenRequest, cancelled: Cancelled) -> Iterator[Event]:
        """Continue token ids; all text is on the content channel. Raises DsparkError."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text, no special token added."""
        ...

    def count_prompt_tokens(self, request: ChatRequest) -> int:
        """How many tokens the conversation has once encoded."""
        ...

    def score(self, token_ids: Sequence[int]) -> list[float | None]:
        """Natural-log probability of each id given those before it; the first is None."""
        ...

    def close(self) -> None:
        """Free caches and weights."""
        ...


@runtime_checkable
class BatchingBackend(Backend, Protocol):
    """A backend that answers several requests in shared passes; they come and go between steps.

    slots is how many it takes at once.
    """

    slots: int

    def begin(self, request: ChatRequest | TokenRequest, cancelled: Cancelled) -> int:
        """Take a request in and return the number that its events will have; `cancelled` is asked once a step.

        Raises DsparkError for a request that cannot be answered, and RuntimeError when all slots are taken.
        """
        ...

    def step(self) -> Iterator[tuple[int, Event | DsparkError]]:
        """Advance every answer by one pass; to be read to its end. Finished or an error is a number's last item.

        What one request does wrong ends it alone. An exception from here ended all of them.
        """
        ...
