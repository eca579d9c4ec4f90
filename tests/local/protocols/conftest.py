from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from dspark_local.protocols.tokenizer import ChatTokenizer
from tests.local.protocols.tiny_tokenizer import write_tiny_tokenizer


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tokenizer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tokenizer(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_dir)


@pytest.fixture(scope="session")
def official(model_dir: Path) -> Tokenizer:
    """The library's tokenizer over the whole file, as the release is tokenized officially."""
    return Tokenizer.from_file(str(model_dir / "tokenizer.json"))
