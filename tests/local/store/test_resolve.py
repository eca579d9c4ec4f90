from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.demo import weights_path
from dspark_local.errors import CheckpointError, IntegrityError, ModelNotFoundError
from dspark_local.store.resolve import find_draft, find_model
from tests.local.store.caches import COMMIT, FLASH, OTHER_COMMIT, model_files, put, weights
from tests.local.store.test_installed import write_own_folder

OWN_FILES = {path: content for path, content in model_files().items() if path != "README.md"}


def test_a_catalog_name_a_repository_and_a_revision_find_the_snapshot(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    for text in ("deepseek-v4-flash-0731", FLASH, FLASH.lower(), f"{FLASH}@main", f"{FLASH}@{COMMIT[:12]}"):
        located = find_model(text)
        assert (located.path, located.draft_path, located.name) == (folder, None, "deepseek-v4-flash-0731")


def test_the_demo_is_always_there(hub_cache: Path) -> None:
    assert find_model("demo").path == weights_path()


def test_a_directory_of_the_users_own_is_taken_as_it_is(hub_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert find_model(str(tmp_path / "mine")).path == tmp_path / "mine"
    with pytest.raises(ModelNotFoundError, match="There is no"):
        find_model(str(tmp_path / "missing"))


def test_a_model_that_is_not_here_says_how_to_get_it(hub_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("deepseek-v4-pro")
    assert "dspark-local pull deepseek-v4-pro" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="someone/else is not on this computer"):
        find_model("someone/else")


def test_a_model_that_is_not_whole_is_not_found_and_says_how_much_is_there(hub_cache: Path) -> None:
    files = model_files()
    del files["model-00002-of-00002.safetensors"]
    put(hub_cache, FLASH, files)
    with pytest.raises(ModelNotFoundError, match=r"incomplete: \d+\.\d kB of 166\.9 GB") as caught:
        find_model("deepseek-v4-flash-0731")
    assert "dspark-local pull deepseek-v4-flash-0731" in caught.value.hint


def test_unverified_files_are_hashed_once_and_then_trusted(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files())
    seen: list[tuple[str, int, int]] = []
    find_model(FLASH, lambda name, done, total: seen.append((name, done, total)))
    total = sum(len(content) for path, content in model_files().items() if path != "README.md")
    assert seen[-1][1:] == (total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    seen.clear()
    find_model(FLASH, lambda name, done, total: seen.append((name, done, total)))
    assert seen == []


@pytest.mark.parametrize("path", ["model-00002-of-00002.safetensors", "config.json"])
def test_a_wrong_file_that_nobody_verified_is_refused(hub_cache: Path, path: str) -> None:
    blob = (put(hub_cache, FLASH, model_files()) / path).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(IntegrityError, match=path) as caught:
        find_model("deepseek-v4-flash-0731")
    assert "dspark-local pull deepseek-v4-flash-0731" in caught.value.hint


def test_a_file_that_cannot_be_checked_is_refused(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    link = folder / "model-00001-of-00002.safetensors"
    blob = link.resolve()
    link.unlink()
    blob.rename(link)  # as on a Windows account that may not make links
    with pytest.raises(CheckpointError, match="cannot be checked"):
        find_model(FLASH)


def test_the_repacked_folder_wins_over_the_cache_while_it_is_whole(hub_cache: Path) -> None:
    snapshot = put(hub_cache, FLASH, model_files())
    repacked = write_own_folder("repacked", OWN_FILES)
    assert find_model(FLASH).path == repacked
    (repacked / "config.json").unlink()
    assert find_model(FLASH).path == snapshot


def test_a_repacked_folder_of_an_older_commit_does_not_win(hub_cache: Path) -> None:
    write_own_folder("repacked", OWN_FILES, commit=OTHER_COMMIT)
    older = find_model(FLASH)
    assert older.path.parent.name == "models"
    snapshot = put(hub_cache, FLASH, model_files())
    assert find_model(FLASH).path == snapshot


def test_a_damaged_repacked_folder_is_refused_with_its_own_way_out(hub_cache: Path) -> None:
    repacked = write_own_folder("repacked", OWN_FILES)
    shard = repacked / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError) as caught:
        find_model(FLASH)
    assert "--only repacked" in caught.value.hint


def test_the_one_revision_that_was_fetched_is_meant_when_none_is_named(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files(), ref=None)
    assert find_model("deepseek-v4-flash-0731").path == folder
    put(hub_cache, FLASH, model_files(3), OTHER_COMMIT, ref="other")
    assert find_model(f"{FLASH}@other").path.name == OTHER_COMMIT
    with pytest.raises(ModelNotFoundError):
        find_model("deepseek-v4-flash-0731")


def test_a_separate_draft_is_located_with_its_target_and_verified_too(hub_cache: Path) -> None:
    put(hub_cache, "Qwen/Qwen3-4B", {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": weights("x")})
    config = b'{"model_type": "qwen3", "architectures": ["Qwen3DSparkModel"]}'
    files = {"config.json": config, "model.safetensors": weights("y", value=1)}
    with pytest.raises(ModelNotFoundError, match="without a draft"):
        find_draft("qwen3-4b")
    draft = put(hub_cache, "deepseek-ai/dspark_qwen3_4b_block7", files)
    assert find_model("qwen3-4b").draft_path == find_draft("qwen3-4b") == draft
    blob = (draft / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="dspark_qwen3_4b_block7"):
        find_model("qwen3-4b")


def test_a_draft_fetched_alone_is_a_draft_and_no_model(hub_cache: Path) -> None:
    draft = write_own_folder("draft", OWN_FILES)
    assert find_draft("deepseek-v4-flash-0731") == draft
    with pytest.raises(ModelNotFoundError, match="Only the draft"):
        find_model("deepseek-v4-flash-0731")
