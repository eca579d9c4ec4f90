"""Text to ids and back, with a wall between the encoder's special tokens and everybody else's text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspark_local.errors import CheckpointError, UsageError
from dspark_local.protocols.segments import Segment
from dspark_local.protocols.special_tokens import CHAT_TOKENS, MARKUP_TOKENS
from dspark_local.protocols.token_bytes import piece_bytes
from dspark_local.protocols.tokenizer_files import TokenizerFiles, read_tokenizer_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class ChatTokenizer:
    """A byte-level BPE tokenizer that knows which of its tokens are markup.

    The library is told to read special tokens in text as plain text, so no text can ever become one; they are looked
    up here, by spelling, where the caller says that text is markup. The library does so only for tokens flagged
    special, and files of this family leave that flag off `<think>` and `<｜User｜>`; so all markup gets it here.

    vocab_size is the highest id plus one; the model's own vocabulary may be padded beyond it.
    """

    def __init__(self, files: TokenizerFiles, *, origin: str = "tokenizer.json") -> None:
        self.bos_id = files.bos_id
        self.eos_ids = files.eos_ids
        self._markup_ids = {
            spelling: i for spelling, i in files.added.items() if _is_markup(files.definition, spelling)
        }
        self._spellings = {i: spelling for spelling, i in self._markup_ids.items()}
        self._text = _text_only(files.definition, self._markup_ids, origin)
        self._literal_bytes = {i: spelling.encode() for spelling, i in files.added.items()}
        self._any_markup = _alternatives({*self._markup_ids, *MARKUP_TOKENS})
        ordinary_ids = files.definition["model"]["vocab"].values()  # the library has read it, so it is there
        self.vocab_size = 1 + max((*ordinary_ids, *files.added.values()), default=-1)

    @classmethod
    def load(cls, model_dir: Path) -> ChatTokenizer:
        """Read model_dir/tokenizer.json and the configs beside it. Raises CheckpointError with the file's name."""
        return cls(read_tokenizer_files(model_dir), origin=str(model_dir / "tokenizer.json"))

    @property
    def missing_chat_tokens(self) -> tuple[str, ...]:
        """Tokens that a conversation needs and this tokenizer has not; empty when it can chat."""
        return tuple(token for token in CHAT_TOKENS if token not in self._markup_ids)

    @property
    def markup_spellings(self) -> frozenset[str]:
        """How the markup tokens of this tokenizer are spelled."""
        return frozenset(self._markup_ids)

    def require_chat(self) -> None:
        """Raise UsageError when this tokenizer cannot carry a conversation."""
        if missing := self.missing_chat_tokens:
            raise UsageError(
                f"This model cannot chat: its tokenizer has no {', '.join(missing)}.",
                hint="Use it for completion of plain text or token ids, or choose a chat model.",
            )

    def token_id(self, spelling: str) -> int:
        """Id of a markup token; UsageError when the tokenizer has none of that spelling."""
        try:
            return self._markup_ids[spelling]
        except KeyError:
            raise UsageError(
                f"This model's tokenizer has no token {spelling}.", hint="Use a model of the DeepSeek-V4 family."
            ) from None

    def is_markup_id(self, token: int) -> bool:
        """True for ids of markup tokens."""
        return token in self._spellings

    def encode_text(self, text: str, *, parse_markup: bool = False) -> list[int]:
        """Ids of text, nothing added. Spellings of markup tokens stay plain text unless parse_markup is set."""
        return self.encode_segments([Segment(text, parse_markup)])

    def encode_prompt(self, segments: Iterable[Segment]) -> list[int]:
        """Ids of an encoded conversation, as the official one-string tokenization gives for harmless content.

        Raises UsageError when the tokenizer lacks a token that the conversation needs.
        """
        self.require_chat()
        return self.encode_segments(segments)

    def encode_segments(self, segments: Iterable[Segment]) -> list[int]:
        """As encode_prompt, for any segments."""
        ids: list[int] = []
        run: list[str] = []  # ordinary text since the last special token; only those split it, not segment borders
        for segment in segments:
            pieces = self._any_markup.split(segment.text) if segment.is_markup else [segment.text]
            for index, piece in enumerate(pieces):
                if index % 2:  # split() alternates text and the matched token
                    ids += self._encode_run(run)
                    run = []
                    ids.append(self.token_id(piece))
                elif piece:
                    run.append(piece)
        return ids + self._encode_run(run)

    def decode(self, ids: Sequence[int], *, skip_markup: bool = False) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD, ids without a token nothing."""
        kept = (i for i in ids if not (skip_markup and i in self._spellings))
        return b"".join(map(self.token_bytes, kept)).decode(errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; markup tokens are their spelling, an id without a token is empty."""
        literal = self._literal_bytes.get(token)
        if literal is not None:
            return literal
        piece = self._text.id_to_token(token) if token >= 0 else None
        return piece_bytes(piece) if piece is not None else b""

    def _encode_run(self, run: list[str]) -> list[int]:
        if not run:
            return []
        # The library refuses lone surrogates, which JSON requests can carry.
        text = "".join(run).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return list(self._text.encode(text, add_special_tokens=False).ids)


def _is_markup(definition: dict[str, Any], spelling: str) -> bool:
    """Added tokens are markup when flagged so or shaped so; others (runs of blanks, single letters) are text."""
    if "｜" in spelling or (spelling.startswith("<") and spelling.endswith(">")):
        return True
    return any(t.get("content") == spelling and t.get("special") for t in definition["added_tokens"])


def _text_only(definition: dict[str, Any], markup_ids: dict[str, int], origin: str) -> Tokenizer:
    """The library's tokenizer, blind to markup in text. The tokens stay in it, because it renumbers over gaps."""
    from tokenizers import Tokenizer  # a compiled library: only when a model is loaded

    added = [{**t, "special": t["content"] in markup_ids} for t in definition.get("added_tokens") or []]
    # Truncation, padding and added BOS are the caller's business; a file may carry them from somebody's training run.
    plain = {**definition, "added_tokens": added, "truncation": None, "padding": None, "post_processor": None}
    try:
        tokenizer = Tokenizer.from_str(json.dumps(plain))
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(
            f"{origin} is not a tokenizer that can be read: {error}.",
            hint="Download the model's tokenizer.json again, or upgrade the tokenizers package.",
        ) from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def _alternatives(spellings: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")
