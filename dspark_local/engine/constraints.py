"""What an answer may say, as a mask on the target's logits.

The mask of a row is a function of the tokens before that row alone, drafts included. So it changes the distribution
that is sampled from, the same with and without speculation: a draft that breaks the form has probability 0 and is
rejected like any other, and what comes after it is never reached.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from dspark_local.engine.constraint_vocabulary import Allowed, GrammarMatcher
from dspark_local.errors import DsparkError


class Constraint:
    """The form of one answer.

    With a matcher the answer follows its grammar and ends where that may end. With begins_after the grammar holds for
    what follows that token's first appearance; what comes before (reasoning) is free. banned_ids never come where no
    grammar holds.
    """

    def __init__(
        self,
        *,
        banned_ids: Collection[int] = (),
        matcher: GrammarMatcher | None = None,
        begins_after: int | None = None,
        end_ids: Collection[int] = (),
    ) -> None:
        self._banned = sorted(banned_ids)
        self._matcher = matcher
        self._begins_after = begins_after
        self._end_ids = frozenset(end_ids)
        self._waits = matcher is None or begins_after is not None
        self._ended = False
        self._known: dict[tuple[int, ...], Allowed] = {}  # what the grammar allows, by undecided tokens before

    def mask(self, ahead: Sequence[int], rows: int, vocabulary: int) -> Tensor:
        """What each of the last `rows` rows allows, bool [rows, vocabulary]; the last row sees all of `ahead`.

        Rows that follow an end or a draft outside the grammar allow everything: no answer gets there.
        """
        allowed = torch.ones(rows, vocabulary, dtype=torch.bool)
        first = len(ahead) + 1 - rows
        waits, alive, moves = self._waits, not self._ended, 0
        try:
            for place in range(len(ahead) + 1):
                if alive and place >= first:
                    self._fill(allowed[place - first], tuple(ahead[:place]), waits)
                if not alive or place == len(ahead):
                    break
                if waits:
                    waits = self._still_waits(ahead[place])
                else:
                    alive = ahead[place] not in self._end_ids and self._advance(ahead[place])
                    moves += alive
        finally:
            if self._matcher is not None:
                self._matcher.go_back(moves)
        return allowed

    def append(self, ids: Sequence[int]) -> None:
        """Tokens that are now part of the answer. DsparkError for one that the grammar does not have."""
        self._known.clear()
        for token in ids:
            if self._waits:
                self._waits = self._still_waits(token)
            elif token in self._end_ids:
                self._ended = True
            elif not self._ended and not self._advance(token):
                raise DsparkError(f"Token {token} was chosen, which the form of the answer excludes.")

    def _still_waits(self, token: int) -> bool:
        return self._matcher is None or token != self._begins_after

    def _advance(self, token: int) -> bool:
        return self._matcher is None or self._matcher.advance(token)

    def _fill(self, row: Tensor, before: tuple[int, ...], waits: bool) -> None:
        """Write the row behind `before`, where the matcher stands."""
        if waits or self._matcher is None:
            row[self._banned] = False
            return
        if before not in self._known:
            self._known[before] = self._matcher.allowed()
        known = self._known[before]
        row[: len(known)] = torch.from_numpy(known)
        row[len(known) :] = False  # ids beyond the tokenizer's, which pad the model's vocabulary
