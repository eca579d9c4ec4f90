"""Which text each token of an answer stands for, pass by pass."""

from __future__ import annotations

from dataclasses import replace

from dspark_local.events import Event, RoundDone
from dspark_local.protocols.detokenize import IncrementalDetokenizer
from dspark_local.protocols.tokenizer import ChatTokenizer


class TokenTexts:
    """Adds the texts to the rounds of one answer, which it is shown in order.

    Joined they are the answer, reasoning included, but for its first token, which no round decides. The calls of
    tools stand there as they are written, and what follows a stop string as it was decided.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._detokenizer = IncrementalDetokenizer(tokenizer, skip_markup=True)
        self._has_begun = False

    def told(self, event: Event) -> Event:
        """The event; a round with its texts."""
        if not isinstance(event, RoundDone):
            return event
        if not self._has_begun:  # the anchor of the first round is the token that the prefill decided
            self._detokenizer.push([event.anchor])
            self._has_begun = True
        return replace(event, texts=tuple(self._detokenizer.push([token]) for token in event.token_ids))
