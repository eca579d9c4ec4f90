"""The two oracles were written apart from each other; they have to agree before they judge anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.models.checkpoints import random_checkpoint, write_tokenizer
from tests.models.configs import RELEASE
from tests.models.conftest import Tiny
from tests.models.feeding import first_wrong


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO", "RELEASE"])
def test_float64_definition_agrees_with_transformers(tiny: Callable[[str], Tiny], name: str) -> None:
    model = tiny(name)
    assert first_wrong(model.logits, model.run64.logits, 1e-4) == ""


def test_the_clamp_bites_on_random_weights(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH")
    loose = type(model.float64)({**model.config, "swiglu_limit": 10.0}, model.float64.weights)
    assert first_wrong(loose.target(model.ids).logits, model.run64.logits, 0.1) != ""


def test_the_indexer_leaves_entries_out(tiny: Callable[[str], Tiny]) -> None:
    model = tiny("FLASH_ODD")
    wide = type(model.float64)({**model.config, "index_topk": 512}, model.float64.weights)
    assert first_wrong(wide.target(model.ids).logits, model.run64.logits, 0.01) != ""


def test_dequantised_weights_are_exact_in_bfloat16() -> None:
    dense = random_checkpoint(RELEASE).dense()
    for name in ("layers.1.attn.wq_b.weight", "layers.1.ffn.experts.3.w2.weight"):
        assert torch.equal(dense[name], dense[name].to(torch.bfloat16).double())
        assert dense[name].std() > 0.05


def test_the_tiny_tokenizer_keeps_every_byte(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    directory = tmp_path
    write_tokenizer(directory)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    text = "é € 字 🙂\n\ttab"
    encoded = tokenizer.encode(f"<｜User｜>{text}<｜Assistant｜>", add_special_tokens=False)
    assert encoded.ids[0] == 2
    assert encoded.ids[-1] == 3
    assert len(encoded.ids) == len(text.encode()) + 2
    assert tokenizer.decode(encoded.ids) == text
