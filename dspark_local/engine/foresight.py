"""What a draft pass is likely to bring, known before it runs.

A block reaches beyond what one round decides. The confidences of its leftover slots speak of the very positions that
the next block starts with, so after a block that lost heart early the next draft pass can be skipped before it costs
anything (the paper names such an early exit as open work). Everything used here was known before the coming tokens are
drawn, so the output's distribution is untouched.
"""

from __future__ import annotations

from collections.abc import Sequence

_HORIZON = 24.0
_PRIOR_BLOCKS = 3.0
_EDGES = (0.35, 0.55, 0.7, 0.85)


class _Mean:
    """A running mean that starts from a prior worth _PRIOR_BLOCKS blocks and remembers about _HORIZON."""

    def __init__(self, prior: float) -> None:
        self.value = prior
        self._weight = _PRIOR_BLOCKS

    def note(self, value: float) -> None:
        self._weight = min(self._weight + 1.0, _HORIZON)
        self.value += (value - self.value) / self._weight


class Foresight:
    """Expected value of a draft pass, in tokens beyond plain decoding and before its own cost, by what the last said.

    Values are learned by kind of hint: none, or the leftover confidence in one of five ranges, with the leftover path
    still the one taken or not. A kind never tried is expected to be as good as all together, all together at first as
    good as `prior`.
    """

    def __init__(self, prior: float) -> None:
        self._leftover: list[float] = []
        self._on_path = True
        self._values: dict[tuple[bool, int], _Mean] = {}
        self._overall = _Mean(prior)

    def expected(self) -> float:
        """Expected value of drafting now."""
        return self._values.get(self._kind(), self._overall).value

    def note_block(self, confidences: Sequence[float], decided: int, *, agreed: bool, value: float) -> None:
        """A block was drafted in this kind of situation: it was worth `value`, and `decided` tokens came of the round.

        agreed: the token after the kept drafts was the one that the block had there.
        """
        kind = self._kind()
        if kind not in self._values:
            self._values[kind] = _Mean(self._overall.value)
        self._values[kind].note(value)
        self._overall.note(value)
        self._leftover = list(confidences[decided:])
        self._on_path = agreed

    def note_plain(self, decided: int) -> None:
        """A round without a draft: the leftover moves on. Whether it still fits is not known."""
        del self._leftover[:decided]
        self._on_path = False

    def _kind(self) -> tuple[bool, int]:
        if not self._leftover:
            return False, -1
        return self._on_path, sum(self._leftover[0] >= edge for edge in _EDGES)
