"""What an engine answers while it works. Plain data, standard library only.

Order within one request:
PrefillProgress* (TokenLogprobs | TextDelta | ToolCallStarted | ToolArgumentsDelta | RoundDone)* Finished.
An engine that fails raises instead of yielding Finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Channel = Literal["content", "reasoning"]
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]
DraftSource = Literal["none", "draft", "lookup"]
SpeculationPhase = Literal["off", "on", "paused"]


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`done` of `total` prompt tokens are in the cache, `cached` of them were there before."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to the answer or to the reasoning; whole characters, never markup."""

    text: str
    channel: Channel = "content"


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely a token was that the answer now has; it comes before the TextDelta that contains the token's text.

    Natural logarithms of the model's own distribution: the softmax of its logits as they are, before bias, penalties,
    grammar, temperature and filters. top lists the most likely tokens, best first, as (id, bytes, logprob), as many as
    were asked for. Bytes of one token may be part of a character. End tokens and tool calls have none.
    """

    token_id: int
    text_bytes: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    channel: Channel = "content"


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """Call number `index` of this answer begins."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolArgumentsDelta:
    """A piece of the JSON text of call `index`'s arguments; all pieces joined are valid JSON."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class SpeculationState:
    """How speculation fares in a conversation, over its latest rounds.

    off: never tried, by request or for lack of a draft. on: drafts are verified. paused: they do not pay at present.
    verified is the mean number of drafts checked a round; block_size is the draft's own, which longer blocks and copies
    from the text go beyond. gain is the measured speed relative
    to plain decoding minus 1 (0.18 is 18 % faster), None until both have been measured. Paused, it is what drafts
    would cost or bring.
    """

    phase: SpeculationPhase = "off"
    verified: float = 0.0
    block_size: int = 0
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class RoundDone:
    """One pass of the target: `drafted` proposed, `verified` of them checked, `accepted` of them kept.

    position is the anchor's position, anchor its id, confidences the proposal's raw (uncalibrated) ones, source where
    its drafts came from: the model's draft, prompt lookup, or nowhere. context_used counts all tokens of the sequence
    after the round. The seconds are those of drafting and of the rest of the round.

    token_ids are the tokens that the round added: the accepted drafts, then the target's own unless the answer ended
    before it. texts holds the text of each, markup left out; a character of several tokens belongs to the one that
    completes it. copied says how many of the drafts, the last ones, were copied from the text.
    """

    position: int
    anchor: int
    draft_ids: tuple[int, ...]
    confidences: tuple[float, ...]
    verified: int
    accepted: int
    context_used: int
    source: DraftSource = "draft"
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    speculation: SpeculationState = SpeculationState()
    token_ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    copied: int = 0


@dataclass(frozen=True, slots=True)
class GenerationStats:
    """Counts and times of one answer.

    passes counts target passes after the prefill, which decides the first token. accepted_per_position
    and verified_per_position count draft tokens by their place in the block. prefill_seconds runs to the first token,
    decode_seconds from there to the end.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    passes: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    drafted_tokens: int = 0
    verified_tokens: int = 0
    accepted_tokens: int = 0
    verified_per_position: tuple[int, ...] = ()
    accepted_per_position: tuple[int, ...] = ()
    context_used: int = 0
    context_length: int = 0
    speculation: SpeculationState = SpeculationState()

    @property
    def accepted_length(self) -> float:
        """Tokens gained per target pass, the target's own token included; exactly 1 in plain decoding, 0 before it."""
        return (self.completion_tokens - 1) / self.passes if self.passes else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed, the prefill and its token left out; 0 before the first pass."""
        return (self.completion_tokens - 1) / self.decode_seconds if self.passes and self.decode_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete. token_ids are all ids generated, an end token included.

    stop_string is the one of the request's stop strings that ended it, None where something else did.
    """

    reason: FinishReason
    token_ids: tuple[int, ...]
    stats: GenerationStats = field(default_factory=GenerationStats)
    stop_string: str | None = None


Event = PrefillProgress | TokenLogprobs | TextDelta | ToolCallStarted | ToolArgumentsDelta | RoundDone | Finished
