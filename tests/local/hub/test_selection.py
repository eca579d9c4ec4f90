"""Only what cannot run is taken from a repository."""

from __future__ import annotations

import pytest

from dspark_local.errors import CheckpointError, HubError, ModelNotFoundError, UsageError
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.hub.selection import Selection, matching, select
from dspark_local.store.digests import Digest


def _listing(*paths: str) -> Listing:
    files = tuple(HubFile(path, 10**9, Digest("sha256", "0" * 64), True) for path in paths)
    return Listing("owner/model", "main", "c" * 40, files)


def _taken(selection: Selection) -> set[str]:
    return {file.path for file in selection.taken}


def test_weights_configuration_and_tokenizer_are_taken() -> None:
    wanted = {
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "qwen.tiktoken",
        "merges.txt",
        "vocab.txt",
        "chat_template.jinja",
        "LICENSE",
        "README.md",
    }
    selection = select(_listing(*wanted, ".gitattributes", "figures/plot.png"))
    assert _taken(selection) == wanted
    assert {path for path, _ in selection.refused} == {".gitattributes", "figures/plot.png"}


@pytest.mark.parametrize(
    "path", ["pytorch_model.bin", "a.pt", "a.pth", "a.ckpt", "a.pkl", "A.PKL", "a.safetensors.bin"]
)
def test_pickles_are_refused_with_the_reason(path: str) -> None:
    selection = select(_listing("model.safetensors", path))
    assert _taken(selection) == {"model.safetensors"}
    assert "may run code" in dict(selection.refused)[path]


@pytest.mark.parametrize("path", ["modeling.py", "inference/kernel.py", "a.so", "setup.sh", "config.json.py"])
def test_programs_are_refused_with_the_reason(path: str) -> None:
    selection = select(_listing("model.safetensors", path))
    assert "nothing from a model repository is ever run" in dict(selection.refused)[path]


def test_a_repository_of_pickles_alone_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"only as pytorch_model\.bin"):
        select(_listing("config.json", "pytorch_model.bin"))


def test_a_repository_without_weights_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError, match="holds no weights"):
        select(_listing("config.json", "README.md"))


@pytest.mark.parametrize(
    "path",
    [
        "../x.json",
        "a/../../x.json",
        "/etc/x.json",
        "a\\..\\x.json",
        "C:x.json",
        "a//b.json",
        "./x.json",
        "a\nb.json",
        "",
    ],
)
def test_a_path_out_of_the_folder_refuses_the_whole_repository(path: str) -> None:
    with pytest.raises(HubError, match="leads out of the model's folder"):
        select(_listing("model.safetensors", path))


def test_several_gguf_models_want_a_choice() -> None:
    listing = _listing("m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "config.json")
    with pytest.raises(
        UsageError, match=r"holds 2 models: m-Q4_K_M\.gguf \(1\.0 GB\), m-Q8_0\.gguf \(2\.0 GB\)"
    ) as caught:
        select(listing)
    assert "--include 'm-Q4_K_M*'" in caught.value.hint
    assert _taken(select(listing, matching(["*Q8_0*"]))) == {
        "m-Q8_0-00001-of-00002.gguf",
        "m-Q8_0-00002-of-00002.gguf",
        "config.json",
    }


def test_a_choice_that_matches_nothing_says_what_there_is() -> None:
    with pytest.raises(ModelNotFoundError, match=r"it has model\.safetensors"):
        select(_listing("model.safetensors"), matching(["*.gguf"]))


def test_copies_of_the_weights_are_left_out() -> None:
    selection = select(_listing("model.safetensors", "original/model.safetensors", "model.gguf", "encoding/a.json"))
    assert _taken(selection) == {"model.safetensors", "encoding/a.json"}


def test_a_choice_cannot_bring_pickles_back() -> None:
    assert _taken(select(_listing("model.safetensors", "a.bin"), lambda path: True)) == {"model.safetensors"}
