"""The one interface behind which an engine stands. Nothing above it asks which engine it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
    """A loaded model that continues conversations. One request at a time; close() frees everything."""

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
