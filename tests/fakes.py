"""Small deterministic stand-ins for a target and a drafter, with caches that really hold state by position.

The state after a prefix is an integer that depends on every token of it (or on the last one alone, to make a Markov
chain), and the logits are a row of a table chosen by the state. So a cache that was rewound wrongly, or a token that
was run twice, changes what is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dspark_models.protocols import DraftBlock, DraftRequest, Run, RunOutput

Advance = Callable[[int, int], int]
"""(state, token) -> state after the token."""

EMPTY_STATE = 1


def whole_prefix(state: int, token: int) -> int:
    """A state that depends on the whole prefix."""
    return (state * 1_103_515_245 + token * 12_345 + 97) % 2_147_483_647


def last_token(state: int, token: int) -> int:
    """A state that depends on the last token: a first-order Markov chain."""
    return token


@dataclass
class _Snapshot:
    cache: _Cache
    length: int
    reach: int
    valid: bool = True


@dataclass
class _Cache:
    """States by position: states[i] is the state after i tokens.

    As in a ring, every state written, kept or not, costs an old one: `reach` is the furthest length so far.
    """

    states: list[int] = field(default_factory=lambda: [EMPTY_STATE])
    reach: int = 0
    snapshots: list[_Snapshot] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.states) - 1

    def add(self, states: Sequence[int]) -> None:
        self.states.extend(states)
        self.reach = max(self.reach, self.length)

    def rewind(self, length: int, span: int) -> None:
        if not self.reach - span <= length <= self.length:
            raise ValueError(f"cannot rewind from {self.length} (reached {self.reach}) to {length}")
        self._cut(length)

    def snapshot(self) -> _Snapshot:
        self.snapshots.append(_Snapshot(self, self.length, self.reach))
        return self.snapshots[-1]

    def restore(self, snapshot: object) -> None:
        if not (isinstance(snapshot, _Snapshot) and snapshot.valid and any(s is snapshot for s in self.snapshots)):
            raise ValueError("the snapshot is stale, or of another sequence")
        self._cut(snapshot.length)
        self.reach = snapshot.reach

    def adopt(self, snapshot: object) -> None:
        if not (isinstance(snapshot, _Snapshot) and snapshot.valid and snapshot.cache is not self and not self.reach):
            raise ValueError("the snapshot is stale, or of the same sequence, or this one is not empty")
        self.states = snapshot.cache.states[: snapshot.length + 1]
        self.reach = snapshot.reach

    def _cut(self, length: int) -> None:
        del self.states[length + 1 :]
        for snapshot in self.snapshots:
            snapshot.valid = snapshot.valid and snapshot.length <= length


class FakeTarget:
    """A target whose logits are table[state % rows]; table [rows, V] float32. Taps [T, 1] float64 are the states."""

    numerics = "a table"
    dtype = "float32"
    device = "cpu"
    weight_bytes = 0

    def __init__(
        self,
        table: Tensor,
        advance: Advance = whole_prefix,
        *,
        rewind_span: int = 8,
        context_length: int = 4096,
        max_sequences: int = 2,
    ) -> None:
        self.table = table.float()
        self.vocab_size = table.shape[1]
        self.context_length = context_length
        self.rewind_span = rewind_span
        self.passes = 0
        self.tokens_run = 0
        self.widest_pass = 0
        self._advance = advance
        self._max_sequences = max_sequences
        self._caches: dict[int, _Cache] = {}
        self._next = 0

    def new_sequence(self) -> int:
        if len(self._caches) == self._max_sequences:
            raise RuntimeError(f"all {self._max_sequences} sequences are in use")
        self._next += 1
        self._caches[self._next] = _Cache()
        return self._next

    def free_sequence(self, sequence: int) -> None:
        del self._caches[sequence]

    def length(self, sequence: int) -> int:
        return self._caches[sequence].length

    def forward(self, runs: Sequence[Run]) -> list[RunOutput]:
        self.passes += 1
        return [self._run(run) for run in runs]

    def _run(self, run: Run) -> RunOutput:
        cache = self._caches[run.sequence]
        ids = run.token_ids.tolist()
        if cache.length + len(ids) > self.context_length:
            raise ValueError("past the context")
        self.tokens_run += len(ids)
        self.widest_pass = max(self.widest_pass, len(ids))
        states: list[int] = []
        for token in ids:
            states.append(self._advance(states[-1] if states else cache.states[-1], token))
        cache.add(states)
        wanted = {"all": states, "last": states[-1:], "none": []}[run.logits]
        rows = torch.tensor([state % len(self.table) for state in wanted], dtype=torch.int64)
        return RunOutput(self.table[rows], torch.tensor(states, dtype=torch.float64).unsqueeze(1))

    def rewind(self, sequence: int, length: int) -> None:
        self._caches[sequence].rewind(length, self.rewind_span)

    def snapshot(self, sequence: int) -> object:
        return self._caches[sequence].snapshot()

    def restore(self, sequence: int, snapshot: object) -> None:
        self._caches[sequence].restore(snapshot)

    def adopt(self, sequence: int, snapshot: object) -> None:
        self._caches[sequence].adopt(snapshot)

    def bytes_held(self) -> dict[str, int]:
        return {"table": self.table.numel() * 4}


class FakeDrafter:
    """Drafts from the states it observed: mostly the target's own logits, else those of a second table.

    A draft follows the target's row where state % 100 < `skill`, so with skill 70 it is right about 7 times in 10. The
    confidence of a slot depends on the state before it, never on what is drawn there.
    """

    def __init__(self, target: FakeTarget, other: Tensor, *, block_size: int = 5, skill: int = 70) -> None:
        self.block_size = block_size
        self._target = target
        self._other = other.float()
        self._skill = skill
        self._caches: dict[int, _Cache] = {}
        self._next = 0

    def new_sequence(self) -> int:
        self._next += 1
        self._caches[self._next] = _Cache()
        return self._next

    def free_sequence(self, sequence: int) -> None:
        del self._caches[sequence]

    def length(self, sequence: int) -> int:
        return self._caches[sequence].length

    def observe(self, sequence: int, position: int, taps: Tensor) -> None:
        cache = self._caches[sequence]
        if position != cache.length:
            raise ValueError(f"observe at {position} does not follow {cache.length}")
        cache.add([int(state) for state in taps[:, 0].tolist()])

    def rewind(self, sequence: int, length: int) -> None:
        self._caches[sequence].rewind(length, self._target.rewind_span)

    def snapshot(self, sequence: int) -> object:
        return self._caches[sequence].snapshot()

    def restore(self, sequence: int, snapshot: object) -> None:
        self._caches[sequence].restore(snapshot)

    def adopt(self, sequence: int, snapshot: object) -> None:
        self._caches[sequence].adopt(snapshot)

    def draft(self, requests: Sequence[DraftRequest]) -> list[DraftBlock]:
        return [self._draft(request) for request in requests]

    def _draft(self, request: DraftRequest) -> DraftBlock:
        cache = self._caches[request.sequence]
        if request.position != cache.length:
            raise ValueError(f"the anchor stands at {request.position}, observed are {cache.length}")
        block = DraftBlock([], [], [])
        state, token = cache.states[-1], request.anchor
        for slot in range(request.length or self.block_size):
            state = self._target._advance(state, token)
            table = self._target.table if state % 100 < self._skill else self._other
            token, probabilities = request.sampler(slot, table[state % len(table)])
            block.ids.append(token)
            block.probabilities.append(probabilities)
            block.confidences.append(0.05 + 0.9 * (state * 7 % 101) / 101)
        return block

    def bytes_held(self) -> dict[str, int]:
        return {"table": self._other.numel() * 4}


def random_table(rows: int, vocab_size: int, seed: int, *, spread: float = 2.0) -> Tensor:
    """Logits [rows, V] float32."""
    return spread * torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(seed))


def fake_pair(
    *, vocab_size: int = 50, block_size: int = 5, skill: int = 70, rewind_span: int = 8, context_length: int = 4096
) -> tuple[FakeTarget, FakeDrafter]:
    """A target whose output depends on the whole prefix, and a drafter that is often right."""
    target = FakeTarget(random_table(997, vocab_size, 1), rewind_span=rewind_span, context_length=context_length)
    return target, FakeDrafter(target, random_table(991, vocab_size, 2), block_size=block_size, skill=skill)
