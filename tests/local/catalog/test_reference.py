from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dspark_local.catalog.reference import CatalogModel, HubModel, LocalModel, parse_reference
from dspark_local.errors import ModelNotFoundError


def test_a_name_of_the_catalog_is_an_entry() -> None:
    reference = parse_reference("DeepSeek-V4-Flash-0731")
    assert isinstance(reference, CatalogModel)
    assert reference.entry.target.repo == "deepseek-ai/DeepSeek-V4-Flash-0731"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/repo", HubModel("owner/repo", "main")),
        ("Owner/re.po_1-x@v1.0", HubModel("Owner/re.po_1-x", "v1.0")),
        ("owner/repo@refs/pr/3", HubModel("owner/repo", "refs/pr/3")),
        (" owner/repo ", HubModel("owner/repo", "main")),
    ],
)
def test_a_repository_may_name_its_revision(text: str, expected: HubModel) -> None:
    assert parse_reference(text) == expected


def test_a_directory_that_exists_beats_a_repository_of_the_same_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(parse_reference("some/model"), HubModel)
    (tmp_path / "some" / "model").mkdir(parents=True)
    assert parse_reference("some/model") == LocalModel(Path("some/model"))


def test_what_starts_like_a_path_is_one_even_if_it_is_missing() -> None:
    assert parse_reference("./missing") == LocalModel(Path("missing"))
    assert parse_reference("/missing/model") == LocalModel(Path("/missing/model"))
    assert parse_reference("~/model") == LocalModel(Path.home() / "model")


def test_a_mistyped_name_is_an_error_that_offers_the_closest() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        parse_reference("deepseek-v4-flsh")
    assert "deepseek-v4-flsh" in caught.value.message
    assert "deepseek-v4-flash" in caught.value.hint


@pytest.mark.parametrize("text", ["", "xyzzy", "a/b/c", "owner/", "owner/repo@", "owner/../x", "a\0/b", "@main"])
def test_what_is_no_reference_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no model called"):
        parse_reference(text)


def test_the_catalog_loads_without_the_engine() -> None:
    program = (
        "import sys, dspark_local.catalog.reference; print('torch' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
