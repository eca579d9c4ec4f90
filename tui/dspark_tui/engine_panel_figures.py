"""The panel's figures: of the latest answer, pass by pass, and of everything since the chat was opened."""

from __future__ import annotations

from dataclasses import dataclass, field

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.events import Finished, GenerationStats, SpeculationState, TextDelta


@dataclass
class AnswerFigures:
    """One answer. verified_at and accepted_at count drafts by their place in the block."""

    verified_at: list[int] = field(default_factory=list)
    accepted_at: list[int] = field(default_factory=list)
    passes: int = 0
    tokens: int = 0
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    decode_seconds: float = 0.0
    has_text: bool = False
    is_over: bool = False

    def take(self, event: ClientEvent) -> None:
        """Take in the next event."""
        match event:
            case TextDelta():
                self.has_text = True
            case RoundSummary():
                self.passes += 1
                self.tokens += len(event.texts) or event.accepted + 1
                self.draft_seconds += event.draft_seconds
                self.verify_seconds += event.verify_seconds
                self.decode_seconds = self.draft_seconds + self.verify_seconds
                _count(self.verified_at, event.verified)
                _count(self.accepted_at, event.accepted)
            case Finished(_, _, stats):
                self._close(stats)
            case _:
                pass

    def _close(self, stats: GenerationStats) -> None:
        self.is_over = True
        self.passes = stats.passes or self.passes
        # The prefill decides the first token, whose time is none of decoding.
        self.tokens = max(stats.completion_tokens - 1, 0) or self.tokens
        self.decode_seconds = stats.decode_seconds or self.decode_seconds

    @property
    def accepted_length(self) -> float:
        """Tokens a pass; 0 before the first."""
        return self.tokens / self.passes if self.passes else 0.0

    @property
    def drafting_share(self) -> float | None:
        """Share of the time of passes that drafting took; None where no times are told."""
        seconds = self.draft_seconds + self.verify_seconds
        return self.draft_seconds / seconds if seconds > 0 else None


@dataclass
class PanelFigures:
    """The latest answer and the whole session, which counts answers that have words and tokens that passes decided.

    speculation is None until a server tells.
    """

    answer: AnswerFigures = field(default_factory=AnswerFigures)
    speculation: SpeculationState | None = None
    _before: tuple[int, int, float] = (0, 0, 0.0)

    def begin(self) -> None:
        """A new answer; the one before counts as it ended, whole or not."""
        self._before = self._totals
        self.answer = AnswerFigures()

    def take(self, event: ClientEvent) -> None:
        """Take in the next event."""
        self.answer.take(event)
        if isinstance(event, RoundSummary):
            self.speculation = event.speculation or self.speculation

    @property
    def _totals(self) -> tuple[int, int, float]:
        answers, tokens, seconds = self._before
        now = self.answer
        return answers + now.has_text, tokens + now.tokens, seconds + now.decode_seconds

    @property
    def answers(self) -> int:
        """Answers so far, the one under way included."""
        return self._totals[0]

    @property
    def tokens(self) -> int:
        """Tokens that passes decided."""
        return self._totals[1]

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed over the session; 0 before the first pass."""
        _, tokens, seconds = self._totals
        return tokens / seconds if seconds > 0 else 0.0


def _count(counts: list[int], places: int) -> None:
    counts.extend([0] * (places - len(counts)))
    for place in range(places):
        counts[place] += 1
