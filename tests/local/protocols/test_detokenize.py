from __future__ import annotations

import random

import pytest

from dspark_local.protocols.detokenize import IncrementalDetokenizer
from dspark_local.protocols.special_tokens import EOS, THINK_CLOSE
from dspark_local.protocols.tokenizer import ChatTokenizer

TEXTS = [
    "👩‍👩‍👧 family 😀😀",
    "龘靐齉 今天天气很好",
    "e\u0301o\u0308 \u200d",
    "  leading and trailing  ",
    "\n\n\ttabs",
    "Übergröße",
]


def stream(tokenizer: ChatTokenizer, ids: list[int], *, skip_markup: bool = False) -> list[str]:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_markup=skip_markup)
    return [*(detokenizer.push([i]) for i in ids), detokenizer.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_no_half_character_is_ever_shown(tokenizer: ChatTokenizer, text: str) -> None:
    pieces = stream(tokenizer, tokenizer.encode_text(text))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_split_over_tokens_appears_with_its_last_byte(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode_text("龘")
    assert len(ids) == 3
    assert stream(tokenizer, ids) == ["", "", "龘", ""]


def test_random_ids_join_to_the_full_decoding(tokenizer: ChatTokenizer) -> None:
    rng = random.Random(2)
    for _ in range(300):
        ids = [rng.randrange(tokenizer.vocab_size) for _ in range(rng.randrange(20))]
        detokenizer = IncrementalDetokenizer(tokenizer)
        out = ""
        rest = list(ids)
        while rest:
            size = rng.randrange(1, 4)
            out += detokenizer.push(rest[:size])
            rest = rest[size:]
        assert out + detokenizer.finish() == tokenizer.decode(ids)


def test_broken_bytes_become_replacement_characters(tokenizer: ChatTokenizer) -> None:
    opened = tokenizer.encode_text("龘")[:2]
    letter = tokenizer.encode_text("a")
    assert stream(tokenizer, opened)[-1] == "\ufffd"
    assert "".join(stream(tokenizer, [*opened, *letter])) == "\ufffda"


def test_markup_is_spelled_out_or_left_out(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode_text(f"so{THINK_CLOSE}yes{EOS}", parse_markup=True)
    assert "".join(stream(tokenizer, ids)) == f"so{THINK_CLOSE}yes{EOS}"
    assert "".join(stream(tokenizer, ids, skip_markup=True)) == "soyes"


def test_after_finish_nothing_of_the_old_text_is_left(tokenizer: ChatTokenizer) -> None:
    detokenizer = IncrementalDetokenizer(tokenizer)
    detokenizer.push(tokenizer.encode_text("龘")[:1])
    detokenizer.finish()
    assert detokenizer.push(tokenizer.encode_text("ok")) == "ok"


def test_the_bytes_looked_at_grow_with_the_tokens_not_with_their_square(tokenizer: ChatTokenizer) -> None:
    looked_at = 0

    class Counting(ChatTokenizer):
        def __init__(self) -> None:
            pass

        def token_bytes(self, token: int) -> bytes:
            nonlocal looked_at
            looked_at += 1
            return tokenizer.token_bytes(token)

    detokenizer = IncrementalDetokenizer(Counting())
    ids = tokenizer.encode_text("The engine drafts five tokens. " * 20)
    for i in ids:
        detokenizer.push([i])
    assert looked_at == len(ids)
