from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.catalog.reference import parse_reference
from dspark_local.errors import DsparkError
from dspark_local.store.installed import all_models, installed
from dspark_local.store.removal import Removal, execute, plan_removal
from dspark_local.store.resolve import to_remove
from tests.local.store.caches import COMMIT, FLASH, OTHER_COMMIT, bytes_in, model_files, put, weights
from tests.local.store.test_installed import gguf, write_own_folder


def planned(text: str) -> Removal:
    models = to_remove(parse_reference(text))
    return plan_removal(models, [model for model in all_models() if model not in models])


def remove(text: str, *places: Path) -> Removal:
    """Remove, and prove that it freed what it said."""
    removal = planned(text)
    before = bytes_in(*places)
    execute(removal)
    assert before - bytes_in(*places) == removal.nbytes
    return removal


def test_a_model_goes_with_everything_that_it_brought(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files())
    part = hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs" / f"{'a' * 64}.dspark-part"
    part.write_bytes(b"x" * 50_000)
    part.with_suffix(".dspark-journal").write_bytes(b"{}")
    repacked = write_own_folder("repacked", model_files())
    assert remove("deepseek-v4-flash-0731", hub_cache, repacked.parent).nbytes > 50_000
    assert bytes_in(hub_cache, repacked.parent) == 0
    assert installed() == []


def test_planning_touches_nothing(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files())
    before = bytes_in(hub_cache)
    assert planned(FLASH).nbytes == before
    assert bytes_in(hub_cache) == before


def test_content_that_another_commit_uses_stays(hub_cache: Path) -> None:
    old, new = model_files(), model_files() | {"model-00002-of-00002.safetensors": weights("mtp.0.x", value=9)}
    put(hub_cache, FLASH, old, COMMIT, ref=None)
    kept = put(hub_cache, FLASH, new, OTHER_COMMIT, ref="main")
    removal = remove(f"{FLASH}@{COMMIT}", hub_cache)
    assert removal.nbytes == len(old["model-00002-of-00002.safetensors"])
    assert {path: (kept / path).read_bytes() for path in new} == new


def test_other_repositories_stay(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files())
    other = put(hub_cache, "someone/else", model_files())
    remove(FLASH, hub_cache)
    assert {path: (other / path).read_bytes() for path in model_files()} == model_files()


def test_a_separate_draft_goes_with_its_target(hub_cache: Path) -> None:
    put(hub_cache, "Qwen/Qwen3-4B", {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": weights("x")})
    config = b'{"model_type": "qwen3", "architectures": ["Qwen3DSparkModel"]}'
    put(hub_cache, "deepseek-ai/dspark_qwen3_4b_block7", {"config.json": config, "model.safetensors": weights("y")})
    remove("qwen3-4b", hub_cache)
    assert bytes_in(hub_cache) == 0


def test_of_several_models_in_one_repository_only_the_named_one_goes(hub_cache: Path) -> None:
    repo = "unsloth/DeepSeek-V4-Flash-0731-GGUF"
    small = {"UD-IQ3_XXS/m-00001-of-00001.gguf": gguf("deepseek4") + b"small"}
    large = {"UD-Q8_K_XL/m-00001-of-00001.gguf": gguf("deepseek4") + b"large one"}
    draft = {"dspark-DeepSeek-V4-Flash-0731-Q8_0.gguf": gguf("dflash")}
    folder = put(hub_cache, repo, small | large | draft | {"README.md": b"both"})
    removal = remove("deepseek-v4-flash-iq3-gguf", hub_cache)
    assert removal.nbytes == len(next(iter(small.values())))
    assert removal.kept == tuple(draft)
    assert all((folder / path).is_file() for path in large | draft)
    remove("deepseek-v4-flash-gguf", hub_cache)
    assert bytes_in(hub_cache) == 0


def test_a_draft_fetched_alone_goes_with_its_model_and_keeps_its_shards_while_it_stays(hub_cache: Path) -> None:
    shard = "model-00002-of-00002.safetensors"
    snapshot = put(hub_cache, FLASH, model_files())
    folder = write_own_folder("draft", {shard: model_files()[shard]})
    (folder / shard).unlink()
    (folder / shard).symlink_to(snapshot / shard)
    cached = [model for model in all_models() if model.kind == "hub cache"]
    removal = plan_removal(cached, [model for model in all_models() if model not in cached])
    execute(removal)
    assert removal.kept == (shard,)
    assert (folder / shard).read_bytes() == model_files()[shard]
    assert [path.name for path in snapshot.iterdir() if path.suffix == ".safetensors"] == [shard]
    remove(FLASH, hub_cache, folder.parent)
    assert bytes_in(hub_cache, folder.parent) == 0


def test_a_cache_that_the_hubs_client_finds_broken_can_still_be_removed(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    (folder / "config.json").resolve().unlink()
    remove(FLASH, hub_cache)
    assert bytes_in(hub_cache) == 0


def test_a_part_of_a_broken_cache_is_not_removed_by_guesswork(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files(), COMMIT, ref=None)
    folder = put(hub_cache, FLASH, model_files(5), OTHER_COMMIT, ref="main")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("nowhere")
    with pytest.raises(DsparkError, match="damaged"):
        planned(f"{FLASH}@{COMMIT}")


def test_an_unfinished_download_is_removed_before_its_first_file(hub_cache: Path) -> None:
    blobs = hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'a' * 64}.dspark-part").write_bytes(b"x" * 9000)
    assert remove(FLASH, hub_cache).nbytes == 9000


def test_holes_in_an_unfinished_file_are_not_said_to_be_freed(hub_cache: Path) -> None:
    blobs = hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs"
    blobs.mkdir(parents=True)
    with (blobs / f"{'a' * 64}.dspark-part").open("wb") as part:
        part.truncate(10**9)
    assert planned(FLASH).nbytes < 10**6
