from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from dspark_local.errors import CheckpointError
from dspark_local.paths import models_dir
from dspark_local.store.locations import hub_cache_dir
from dspark_local.store.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestFile,
    model_folder,
    read_manifest,
    write_manifest,
)

MANIFEST = Manifest("owner/name", "main", "0123456789" * 4, "draft", (ManifestFile("a/b.safetensors", 7, "ab" * 32),))


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_a_folder_without_a_manifest_is_none_of_ours(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "missing") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "kind": "other", "files": []}'])
def test_a_damaged_manifest_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(content)
    with pytest.raises(CheckpointError, match=MANIFEST_NAME):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", ""])
def test_a_manifest_reaches_no_file_outside_its_folder(tmp_path: Path, path: str) -> None:
    write_manifest(tmp_path, replace(MANIFEST, files=(ManifestFile(path, 1, "ab" * 32),)))
    with pytest.raises(CheckpointError, match="no path inside"):
        read_manifest(tmp_path)


def test_folders_are_named_by_repository_commit_and_kind() -> None:
    repacked = model_folder("owner/name", MANIFEST.commit, "repacked")
    assert repacked == models_dir() / "owner--name@012345678901"
    assert model_folder("owner/name", MANIFEST.commit, "draft").name == "owner--name@012345678901-draft"


def test_models_lie_under_the_products_home_and_are_private() -> None:
    folder = models_dir()
    assert folder == Path(os.environ["DSPARK_HOME"]) / "models"
    assert folder.stat().st_mode & 0o077 == 0


def test_the_hub_cache_is_where_the_hubs_own_client_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    assert str(hub_cache_dir()).startswith(os.environ["HF_HOME"])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub_cache_dir() == tmp_path


def test_a_manifest_says_which_format_it_is_in(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert json.loads((tmp_path / MANIFEST_NAME).read_text())["format"] == 1
