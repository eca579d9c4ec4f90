"""What one decoding of one prompt did, and the sums over several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from dspark_local.events import DraftSource


class Pass(NamedTuple):
    """One round: where its drafts came from, how many were verified, the tokens it decided, its seconds."""

    source: DraftSource
    verified: int
    tokens: int
    draft_seconds: float
    verify_seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One decoding. The token that the prefill decided is in token_ids and in no pass; seconds leave the prefill out.

    expert_bytes are those of the experts fetched while it decoded, None where the target keeps no ledger.
    """

    token_ids: tuple[int, ...]
    passes: tuple[Pass, ...]
    verified: int
    accepted: int
    seconds: float
    expert_bytes: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over answers, of decoding alone, and what follows from them."""

    tokens: int
    passes: int
    seconds: float
    verified: int
    accepted: int
    expert_bytes: int | None

    @property
    def tokens_per_second(self) -> float:
        """0 when nothing was decoded."""
        return self.tokens / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def accepted_length(self) -> float:
        """Tokens a target pass."""
        return self.tokens / self.passes if self.passes else 0.0

    @property
    def verified_per_pass(self) -> float:
        """Drafts a target pass."""
        return self.verified / self.passes if self.passes else 0.0

    @property
    def kept_share(self) -> float | None:
        """Of the drafts verified; None without any."""
        return self.accepted / self.verified if self.verified else None

    @property
    def expert_bytes_per_token(self) -> float | None:
        """None where nobody counted."""
        return self.expert_bytes / self.tokens if self.expert_bytes is not None and self.tokens else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "tokens_per_second": self.tokens_per_second,
            "accepted_length": self.accepted_length,
            "verified_per_pass": self.verified_per_pass,
            "kept_share": self.kept_share,
            "expert_bytes_per_token": self.expert_bytes_per_token,
        }


def figures_of(answers: Iterable[Answer]) -> Figures:
    """Sums over the answers of one way."""
    return total(
        Figures(
            tokens=len(answer.token_ids) - 1,
            passes=len(answer.passes),
            seconds=answer.seconds,
            verified=answer.verified,
            accepted=answer.accepted,
            expert_bytes=answer.expert_bytes,
        )
        for answer in answers
    )


def total(parts: Iterable[Figures]) -> Figures:
    """Sums of sums; bytes are known when every part's are."""
    known = list(parts)
    counted = [part.expert_bytes for part in known if part.expert_bytes is not None]
    return Figures(
        tokens=sum(part.tokens for part in known),
        passes=sum(part.passes for part in known),
        seconds=sum(part.seconds for part in known),
        verified=sum(part.verified for part in known),
        accepted=sum(part.accepted for part in known),
        expert_bytes=sum(counted) if len(counted) == len(known) else None,
    )
