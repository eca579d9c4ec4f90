"""The two narrow interfaces between a model and the loop that drives it. Names: T tokens, V vocabulary, F features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

LogitRows = Literal["all", "last", "none"]

DraftSampler = Callable[[int, Tensor], tuple[int, Tensor | None]]
"""(slot, logits [V] float32) -> (draft id, the probabilities [V] it was drawn from, or None if it was certain)."""


class Run(NamedTuple):
    """Consecutive tokens to append to one sequence: token_ids [T] int64, T >= 1."""

    sequence: int
    token_ids: Tensor
    logits: LogitRows = "all"


class RunOutput(NamedTuple):
    """logits [T | 1 | 0, V] float32 as asked; taps [T, F], the hidden states that the draft reads (F may be 0)."""

    logits: Tensor
    taps: Tensor


class Target(Protocol):
    """A model with caches for several sequences at once.

    Results of one sequence never depend on the others in the pass.
    """

    vocab_size: int
    context_length: int
    rewind_span: int
    """How far a sequence can be rewound, counted from the furthest position ever written, rejected tokens included."""

    def new_sequence(self) -> int:
        """Reserve an empty sequence; RuntimeError when the caller holds more than it asked for at load time."""
        ...

    def free_sequence(self, sequence: int) -> None:
        """Give it back."""
        ...

    def length(self, sequence: int) -> int:
        """Tokens in the cache."""
        ...

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        """Append every run in one pass; serves prefill chunks and verification alike. ValueError past the context."""
        ...

    def rewind(self, sequence: int, length: int) -> None:
        """Forget everything from `length` on, exactly. ValueError when that is further back than rewind_span allows."""
        ...

    def snapshot(self, sequence: int) -> object:
        """What is needed to return to the present length later, however far the sequence has grown since."""
        ...

    def restore(self, sequence: int, snapshot: object) -> None:
        """Return to a snapshot of this same sequence; it stays valid while no rewind or restore went below it."""
        ...

    def adopt(self, sequence: int, snapshot: object) -> None:
        """Make an empty sequence what another one was at a snapshot that is still valid; the two share nothing then."""
        ...

    def bytes_held(self) -> dict[str, int]:
        """Bytes by part: weights, window, compressed, index, compressor state."""
        ...


class DraftRequest(NamedTuple):
    """Draft after `anchor`, the last decided token, which stands at `position` and is not in the target's cache.

    length is how many drafts are wanted, 0 for the drafter's own block size. A block is never longer than a verify
    pass can take back, so fewer may come.
    """

    sequence: int
    anchor: int
    position: int
    sampler: DraftSampler
    length: int = 0


class DraftBlock(NamedTuple):
    """K drafted tokens: ids, their distributions (None where the choice was certain), raw confidences in (0, 1)."""

    ids: list[int]
    probabilities: list[Tensor | None]
    confidences: list[float]


class Drafter(Protocol):
    """Proposes a block of tokens from the target's tapped hidden states. It never sees the target's future."""

    block_size: int

    def new_sequence(self) -> int:
        """Reserve an empty sequence."""
        ...

    def free_sequence(self, sequence: int) -> None:
        """Give it back."""
        ...

    def observe(self, sequence: int, position: int, taps: Tensor) -> None:
        """Take in the taps [T, F] of committed tokens from `position` on; contiguous with the last call."""
        ...

    def rewind(self, sequence: int, length: int) -> None:
        """Forget the context from `length` on; the next observe starts there."""
        ...

    def snapshot(self, sequence: int) -> object:
        """As Target.snapshot."""
        ...

    def restore(self, sequence: int, snapshot: object) -> None:
        """As Target.restore."""
        ...

    def adopt(self, sequence: int, snapshot: object) -> None:
        """As Target.adopt."""
        ...

    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        """One block for each request, in one pass."""
        ...

    def bytes_held(self) -> dict[str, int]:
        """Bytes by part."""
        ...
