"""A byte-level BPE tokenizer with V4's special tokens, trained in milliseconds, in the files of a model directory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from dspark_local.protocols.special_tokens import BOS, EOS, MARKUP_TOKENS

_SENTENCES = (
    "The engine drafts five tokens and verifies them in one pass.",
    "You have access to a set of tools to help answer the user's question.",
    "Speculative decoding keeps the output of the target, token for token.",
    "def add(first, second):\n    return first + second\n",
    "你好，世界。今天天气很好，我们去公园吧。",
    "Übergrößenträger naïve café 😀 👩‍👩‍👧 e\u0301",
) * 3


def write_tiny_tokenizer(folder: Path, *, without: Iterable[str] = (), configs: bool = True) -> Path:
    """Write tokenizer.json (and config.json) into folder, leaving the special tokens in `without` out."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|[一-龥]+|\s+(?!\S)| ?[^\s\d一-龥]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kept = [token for token in MARKUP_TOKENS if token not in set(without)]
    ends = [token for token in kept if token in (BOS, EOS)]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in ends],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    # As in the files of this model family, only BOS and EOS are flagged special.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in kept if token not in ends])
    tokenizer.save(str(folder / "tokenizer.json"))
    if configs:
        ids = {f"{name}_token_id": tokenizer.token_to_id(token) for name, token in (("bos", BOS), ("eos", EOS))}
        (folder / "config.json").write_text(json.dumps(ids), encoding="utf-8")
    return folder
