"""One conversation's place in the caches: target and draft hold the same tokens, and it is known which.

Between turns the caches stay. The next prompt shares a prefix with them, and what follows that prefix is undone: by a
rewind if it is short, else by the newest usable snapshot, else by starting afresh. Reuse changes time, never output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dspark_local.engine.block_length import ExtraSlots
from dspark_local.engine.prompt_lookup import LookupTrust
from dspark_models.protocols import DraftBlock, Drafter, DraftRequest, DraftSampler, LogitRows, Run, RunOutput, Target

MAX_SNAPSHOTS = 4
"""The oldest stays, as it is the one that most prompts can come back to; of the others the newest do."""

MOST_UNSEEN = 64
"""Tokens whose taps wait for the draft to be asked; of V4-Flash they take 1.6 MB. More are shown to it together."""


class _Snapshot(NamedTuple):
    length: int
    reach: int
    target: object
    drafter: object


class Session:
    """A sequence of the target, and of the drafter if there is one, with the token ids that both hold."""

    def __init__(self, target: Target, drafter: Drafter | None = None) -> None:
        self.target = target
        self.drafter = drafter
        self.lookup_trust = LookupTrust()
        self.extra_slots = ExtraSlots()
        self.landmark = 0
        """Where other prompts are likely to part from this one: a snapshot is taken when an append passes it."""
        self._ids: list[int] = []
        # The furthest position written since the caches were last whole. Rings lose an old row for every row written,
        # rejected drafts included, so what can be undone counts from here, not from the present length.
        self._reach = 0
        self._snapshots: list[_Snapshot] = []
        self._unsettled: tuple[list[int], Tensor] | None = None  # rows of a verify pass, taps [T, F]
        self._unseen: list[Tensor] = []  # taps [T, F] of tokens in the caches that the draft has not been shown
        self._shown = 0
        self._open()

    def _open(self) -> None:
        self._target_sequence = self.target.new_sequence()
        self._draft_sequence = self.drafter.new_sequence() if self.drafter is not None else 0

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens in the caches."""
        return tuple(self._ids)

    @property
    def length(self) -> int:
        """How many tokens the caches hold."""
        return len(self._ids)

    def reuse(self, prompt: Sequence[int]) -> int:
        """Undo whatever does not belong to prompt; returns how many of its tokens are cached, always less than all.

        The last token stays out because its logits are needed.
        """
        self._drop_undecided()
        length, snapshot = self._way_back(prompt)
        if snapshot is not None:
            self._restore(snapshot)
        elif length == 0 < self.length:
            self.clear()
        self._rewind(length)
        return length

    def reusable(self, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt `reuse` would find cached; nothing is changed."""
        return self._way_back(prompt)[0]

    def _way_back(self, prompt: Sequence[int]) -> tuple[int, _Snapshot | None]:
        """(tokens of the prompt that can be kept, the snapshot to return to first, None where a rewind is enough)."""
        wanted = min(_common_prefix(self._ids, prompt), len(prompt) - 1)
        span = self.target.rewind_span
        if wanted == self.length or self._reach - wanted <= span:
            return wanted, None
        # A restore brings all rows of that moment back, so some more can be undone from there.
        usable = [old for old in self._snapshots if old.length <= wanted or old.reach - wanted <= span]
        if not usable:
            return 0, None
        newest = max(usable, key=lambda old: old.length)
        return min(wanted, newest.length), newest

    def shareable(self, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt `branch` would give another session."""
        newest = self._newest_within(prompt)
        return newest.length if newest is not None else 0

    def branch(self, other: Session, prompt: Sequence[int]) -> None:
        """Begin, being empty, with what `other` holds of the prompt; that one goes on undisturbed, even in mid-answer.

        What is shared ends at a snapshot of the other, as only there are all its rows known.
        """
        snapshot = other._newest_within(prompt)
        if snapshot is None or self._ids:
            raise RuntimeError("there is nothing to branch from, or this session is not empty")
        self.target.adopt(self._target_sequence, snapshot.target)
        if self.drafter is not None:
            self.drafter.adopt(self._draft_sequence, snapshot.drafter)
        self._ids = other._ids[: snapshot.length]
        self._shown, self._reach = snapshot.length, snapshot.reach
        self.remember()

    def _newest_within(self, prompt: Sequence[int]) -> _Snapshot | None:
        wanted = min(_common_prefix(self._ids, prompt), len(prompt) - 1)
        usable = [snapshot for snapshot in self._snapshots if snapshot.length <= wanted]
        return max(usable, key=lambda old: old.length, default=None)

    def append(self, ids: Sequence[int], logits: LogitRows) -> Tensor:
        """Take in decided tokens, at least one; returns logits [T | 1 | 0, V] float32 as asked."""
        until = self.landmark - self.length
        if logits != "all" and 0 < until < len(ids):
            self._take_in(ids[:until], "none")
            self.remember()
            ids = ids[until:]
        rows = self._take_in(ids, logits)
        if self.length == self.landmark:
            self.remember()
        return rows

    def _take_in(self, ids: Sequence[int], logits: LogitRows) -> Tensor:
        output = self._forward(ids, logits)
        self._observe(output.taps)
        self._ids.extend(ids)
        return output.logits

    def settle(self, kept: int) -> None:
        """Keep the first `kept` tokens of the last verify and forget the others, everywhere."""
        if self._unsettled is None:
            raise RuntimeError("settle follows a verify")
        ids, taps = self._unsettled
        if kept < len(ids):
            self.target.rewind(self._target_sequence, self.length + kept)
        if kept:
            self._observe(taps[:kept])
        self._ids.extend(ids[:kept])
        self._unsettled = None

    def remember(self) -> None:
        """Take a snapshot here, so that a later prompt can come back however far the answer goes."""
        if not self._ids or any(snapshot.length == self.length for snapshot in self._snapshots):
            return
        self.show_draft()
        draft_state = self.drafter.snapshot(self._draft_sequence) if self.drafter is not None else None
        target_state = self.target.snapshot(self._target_sequence)
        self._snapshots.append(_Snapshot(self.length, self._reach, target_state, draft_state))
        del self._snapshots[1 : 1 - MAX_SNAPSHOTS]

    def clear(self) -> None:
        """Forget everything and start afresh."""
        self.close()
        self._ids.clear()
        self._reach = 0
        self._unsettled = None
        self._unseen.clear()
        self._shown = 0
        self._open()

    def close(self) -> None:
        """Give the sequences back; the session is of no use afterwards."""
        self._snapshots.clear()
        self.target.free_sequence(self._target_sequence)
        if self.drafter is not None:
            self.drafter.free_sequence(self._draft_sequence)

    def _forward(self, ids: Sequence[int], logits: LogitRows) -> RunOutput:
        self._reach = max(self._reach, self.length + len(ids))
        return self.target.forward([Run(self._target_sequence, torch.tensor(ids, dtype=torch.int64), logits)])[0]

    def _observe(self, taps: Tensor) -> None:
        """Keep the taps until the draft is asked, or until there are many: while it is paused it costs nothing."""
        if self.drafter is not None:
            self._unseen.append(taps)
            if sum(len(part) for part in self._unseen) >= MOST_UNSEEN:
                self.show_draft()

    def show_draft(self) -> None:
        """Let the draft see every token in the caches."""
        if self.drafter is not None and self._unseen:
            taps = torch.cat(self._unseen)
            self._unseen.clear()
            self.drafter.observe(self._draft_sequence, self._shown, taps)
            self._shown += len(taps)

    def _drop_undecided(self) -> None:
        """After an interruption in the middle of a pass the target may hold more than was decided, or a torn run."""
        self._unsettled = None
        self.show_draft()
        torn = self.drafter is not None and self._shown != self.length
        if torn or self._reach - self.length > self.target.rewind_span:
            self.clear()
        elif self.target.length(self._target_sequence) != self.length:
            self.target.rewind(self._target_sequence, self.length)

    def _rewind(self, length: int) -> None:
        if length == self.length:
            return
        self.target.rewind(self._target_sequence, length)
        if self.drafter is not None:
            self.drafter.rewind(self._draft_sequence, length)
            self._shown = length
        self._shorten(length)

    def _restore(self, snapshot: _Snapshot) -> None:
        self.target.restore(self._target_sequence, snapshot.target)
        if self.drafter is not None:
            self.drafter.restore(self._draft_sequence, snapshot.drafter)
            self._shown = snapshot.length
        self._reach = snapshot.reach
        self._shorten(snapshot.length)

    def _shorten(self, length: int) -> None:
        del self._ids[length:]
        self._snapshots = [snapshot for snapshot in self._snapshots if snapshot.length <= length]


def draft_together(requests: Sequence[tuple[Session, int, DraftSampler, int]]) -> list[DraftBlock]:
    """One draft pass for several sessions of one drafter: (session, anchor, sampler, slots) -> its block.

    The anchor is the decided token after those in the caches.
    """
    drafter = requests[0][0].drafter
    if drafter is None:
        raise RuntimeError("this session has no drafter")
    for session, *_ in requests:
        session.show_draft()
    return drafter.draft(
        [
            DraftRequest(session._draft_sequence, anchor, session.length, sampler, slots)
            for session, anchor, sampler, slots in requests
        ]
    )


def verify_together(runs: Sequence[tuple[Session, Sequence[int]]]) -> list[Tensor]:
    """One target pass over the anchor and K undecided tokens of several sessions; logits [K + 1, V] float32 each.

    `settle` must follow on every session.
    """
    target = runs[0][0].target
    for session, ids in runs:
        session._reach = max(session._reach, session.length + len(ids))
    outputs = target.forward(
        [Run(session._target_sequence, torch.tensor(ids, dtype=torch.int64), "all") for session, ids in runs]
    )
    for (session, ids), output in zip(runs, outputs, strict=True):
        session._unsettled = (list(ids), output.taps)
    return [output.logits for output in outputs]


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
