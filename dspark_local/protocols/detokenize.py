"""Ids to text while they arrive: whole characters only, at a constant cost a token."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from dspark_local.protocols.tokenizer import ChatTokenizer


class IncrementalDetokenizer:
    """Feeds each token's bytes to an incremental UTF-8 decoder, which holds at most the 3 bytes of an open character.

    All pieces joined equal ChatTokenizer.decode of all ids. Markup tokens come out as their spelling, for the output
    parser, unless skip_markup is set.
    """

    def __init__(self, tokenizer: ChatTokenizer, *, skip_markup: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skip_markup = skip_markup
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, ids: Iterable[int]) -> str:
        """The text that these ids complete; may be empty."""
        kept = (i for i in ids if not (self._skip_markup and self._tokenizer.is_markup_id(i)))
        return self._utf8.decode(b"".join(map(self._tokenizer.token_bytes, kept)))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that was never completed. The object can be used anew afterwards."""
        left = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return left
