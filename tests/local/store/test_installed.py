from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from dspark_local.store.digests import Digest
from dspark_local.store.installed import installed
from dspark_local.store.manifest import Manifest, ManifestFile, model_folder, write_manifest
from dspark_local.store.models import InstalledModel
from dspark_local.store.snapshots import cached_repos
from dspark_local.store.verified import VerifiedFiles
from tests.local.hub.stand_in_hub import StandInHub
from tests.local.store.caches import COMMIT, FLASH, OTHER_COMMIT, model_files, put, weights


def the_only(models: list[InstalledModel]) -> InstalledModel:
    assert len(models) == 1, [model.name for model in models]
    return models[0]


def write_own_folder(kind: str, files: dict[str, bytes], repo: str = FLASH, commit: str = COMMIT) -> Path:
    assert kind in ("repacked", "draft")
    folder = model_folder(repo, commit, "draft" if kind == "draft" else "repacked")
    folder.mkdir(parents=True)
    listed = []
    for path, content in files.items():
        (folder / path).write_bytes(content)
        listed.append(ManifestFile(path, len(content), hashlib.sha256(content).hexdigest()))
    write_manifest(folder, Manifest(repo, "main", commit, "draft" if kind == "draft" else "repacked", tuple(listed)))
    return folder


def mark_verified(model: InstalledModel) -> None:
    verified = VerifiedFiles()
    for file in model.files:
        assert file.digest is not None
        verified.record(file.path, file.digest)


def test_without_a_cache_there_is_nothing(hub_cache: Path) -> None:
    hub_cache.rmdir()
    assert installed() == []


def test_a_snapshot_of_a_known_repository_is_listed_by_its_name(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    model = the_only(installed())
    assert (model.name, model.repo, model.commit, model.path) == ("deepseek-v4-flash-0731", FLASH, COMMIT, folder)
    assert model.revisions == ("main",)
    assert model.draft == "inside"
    assert str(model.state) == "complete, not verified"
    assert model.nbytes == sum(map(len, model_files().values()))


def test_it_is_verified_once_every_file_was_checked(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    mark_verified(the_only(installed()))
    assert str(the_only(installed()).state) == "complete and verified"
    os.utime(folder / "config.json", ns=(1, 1))
    assert the_only(installed()).state.kind == "unverified"


@pytest.mark.parametrize("missing", ["config.json", "model-00002-of-00002.safetensors"])
def test_what_its_own_index_promises_and_is_not_there_makes_it_incomplete(hub_cache: Path, missing: str) -> None:
    files = {path: content for path, content in model_files().items() if path != missing}
    put(hub_cache, FLASH, files)
    state = the_only(installed()).state
    assert state.kind == "incomplete"
    assert str(state) == f"incomplete: {state.present_bytes / 1000:.1f} kB of 166.9 GB"


def test_an_index_is_believed_whatever_its_shards_are_called(hub_cache: Path) -> None:
    index = json.dumps({"weight_map": {"embed.weight": "first.safetensors", "head.weight": "second.safetensors"}})
    files = model_files() | {
        "first.safetensors": weights("embed.weight"),
        "model.safetensors.index.json": index.encode(),
    }
    put(hub_cache, FLASH, files)
    assert the_only(installed()).state.kind == "incomplete"


def test_an_unfinished_file_counts_as_far_as_it_has_come(hub_cache: Path) -> None:
    files = model_files()
    del files["model-00002-of-00002.safetensors"]
    put(hub_cache, FLASH, files)
    before = the_only(installed())
    part = hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs" / f"{'a' * 64}.dspark-part"
    part.write_bytes(b"x" * 50_000)
    after = the_only(installed())
    assert after.state.present_bytes - before.state.present_bytes == 50_000
    assert after.nbytes - before.nbytes == 50_000


def test_a_pull_that_was_cut_before_its_first_file_is_listed(hub_cache: Path) -> None:
    blobs = hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'a' * 64}.dspark-part").write_bytes(b"x" * 9000)
    assert str(the_only(installed()).state) == "incomplete: 9.0 kB of 166.9 GB"


def test_a_broken_link_is_an_incomplete_model_and_not_an_invisible_one(hub_cache: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    (folder / "model-00001-of-00002.safetensors").resolve().unlink()
    assert not scan_cache_dir(hub_cache).repos
    assert the_only(installed()).state.kind == "incomplete"


def test_other_peoples_repositories_are_left_out_unless_asked_for(hub_cache: Path) -> None:
    put(hub_cache, "someone/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": weights("x")})
    (hub_cache / "datasets--someone--text" / "snapshots").mkdir(parents=True)
    assert installed() == []
    other = the_only(installed(everything=True))
    assert (other.name, other.role) == ("someone/bert", "other")


def test_a_repository_outside_the_catalog_is_recognised_by_its_config(hub_cache: Path) -> None:
    put(hub_cache, "someone/v4-tuned", model_files())
    model = the_only(installed())
    assert (model.name, model.role, model.draft, model.entry) == ("someone/v4-tuned", "target", "inside", None)


def test_a_target_and_its_separate_draft_are_one_item(hub_cache: Path) -> None:
    target = {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": weights("x")}
    config = b'{"model_type": "qwen3", "architectures": ["Qwen3DSparkModel"]}'
    draft = {"config.json": config, "model.safetensors": weights("y", value=1)}
    put(hub_cache, "Qwen/Qwen3-4B", target)
    alone = the_only(installed())
    assert alone.draft is None
    folder = put(hub_cache, "deepseek-ai/dspark_qwen3_4b_block7", draft)
    both = the_only(installed())
    assert (both.name, both.draft) == ("qwen3-4b", folder)
    assert both.nbytes == sum(map(len, [*target.values(), *draft.values()]))
    mark_verified(alone)
    assert the_only(installed()).state.kind == "unverified"
    mark_verified(both)
    assert the_only(installed()).state.kind == "verified"


def test_a_draft_without_its_target_is_an_item_of_its_own(hub_cache: Path) -> None:
    config = b'{"model_type": "qwen3", "architectures": ["Qwen3DSparkModel"]}'
    put(hub_cache, "deepseek-ai/dspark_qwen3_4b_block7", {"config.json": config, "model.safetensors": weights("y")})
    draft = the_only(installed())
    assert (draft.name, draft.role) == ("deepseek-ai/dspark_qwen3_4b_block7", "draft")


def gguf(architecture: str) -> bytes:
    key = b"general.architecture"
    text = architecture.encode()
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    return head + len(key).to_bytes(8, "little") + key + b"\x08\0\0\0" + len(text).to_bytes(8, "little") + text


def test_the_models_of_one_repository_are_told_apart_by_their_files(hub_cache: Path) -> None:
    repo = "unsloth/DeepSeek-V4-Flash-0731-GGUF"
    shards = {f"UD-IQ3_XXS/m-{i:05d}-of-00002.gguf": gguf("deepseek4") + bytes([i]) for i in (1, 2)}
    draft = {"dspark-DeepSeek-V4-Flash-0731-Q8_0.gguf": gguf("dflash")}
    folder = put(hub_cache, repo, shards | draft)
    model = the_only(installed())
    assert model.name == "deepseek-v4-flash-iq3-gguf"
    assert model.draft == folder / next(iter(draft))
    assert model.state.kind == "unverified"
    (folder / "UD-IQ3_XXS/m-00002-of-00002.gguf").unlink()
    assert the_only(installed()).state.kind == "incomplete"


def test_several_commits_of_a_repository_have_names_of_their_own(hub_cache: Path) -> None:
    put(hub_cache, FLASH, model_files(0), COMMIT, ref=None)
    put(hub_cache, FLASH, model_files(2), OTHER_COMMIT, ref="main")
    assert sorted(model.name for model in installed()) == [f"{FLASH}@{COMMIT[:12]}", "deepseek-v4-flash-0731"]


def test_our_own_folders_are_listed_with_the_cache(hub_cache: Path) -> None:
    files = {path: content for path, content in model_files().items() if path != "README.md"}
    repacked = write_own_folder("repacked", files)
    model = the_only(installed())
    assert (model.name, model.kind, model.path, model.draft) == (
        "deepseek-v4-flash-0731",
        "repacked",
        repacked,
        "inside",
    )
    assert model.state.kind == "unverified"
    mark_verified(model)
    assert the_only(installed()).state.kind == "verified"
    (repacked / "config.json").unlink()
    assert the_only(installed()).state.kind == "incomplete"


def test_a_folder_with_a_damaged_manifest_hides_nothing_else(hub_cache: Path) -> None:
    folder = write_own_folder("repacked", {"config.json": b"{}"})
    (folder / "dspark-model.json").write_text("{")
    put(hub_cache, FLASH, model_files())
    assert the_only(installed()).kind == "hub cache"


def test_a_draft_fetched_alone_is_not_also_an_incomplete_model(hub_cache: Path) -> None:
    files = model_files()
    shard = "model-00002-of-00002.safetensors"
    snapshot = put(hub_cache, FLASH, {"config.json": files["config.json"], shard: files[shard]})
    folder = write_own_folder("draft", {"config.json": files["config.json"]})
    (folder / shard).symlink_to(snapshot / shard)
    listed = (ManifestFile(shard, len(files[shard]), hashlib.sha256(files[shard]).hexdigest()),)
    write_manifest(folder, Manifest(FLASH, "main", COMMIT, "draft", listed))
    draft = the_only(installed())
    assert (draft.kind, draft.role) == ("draft", "draft")


def test_what_the_hubs_own_client_downloaded_is_complete_by_its_own_listing(hub_cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path, content in (model_files() | {"tokenizer.json": b"{}", "weights.bin": b"no"}).items():
        (source / path).write_bytes(content)
    (source / "model-00001-of-00002.safetensors").write_bytes(weights("embed.weight", size=200_000))
    with StandInHub() as hub:
        hub.add(FLASH, source)
        place = snapshot_download(FLASH, endpoint=hub.endpoint, cache_dir=hub_cache, ignore_patterns=["*.bin"])
    model = the_only(installed())
    assert model.path == Path(place)
    assert model.state.kind == "unverified"
    (model.path / "tokenizer.json").unlink()  # no index speaks of it, the hub's listing does
    assert the_only(installed()).state.kind == "incomplete"


def test_our_reading_of_the_cache_agrees_with_the_hubs_own_scan(hub_cache: Path, tmp_path: Path) -> None:
    put(hub_cache, FLASH, model_files(0), COMMIT, ref="v1")
    put(hub_cache, FLASH, model_files(0) | {"config.json": b"{}", "sub/x.json": b"1"}, OTHER_COMMIT, ref="main")
    put(hub_cache, "someone/else", {"a.json": b"same", "b.json": b"same"})
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text("{}")
    with StandInHub() as hub:
        hub.add("openai/gpt2", tmp_path / "gpt2")
        snapshot_download("openai/gpt2", endpoint=hub.endpoint, cache_dir=hub_cache)
    theirs = {
        (repo.repo_id, revision.commit_hash, revision.refs, revision.size_on_disk, len(revision.files))
        for repo in scan_cache_dir(hub_cache).repos
        for revision in repo.revisions
    }
    ours = {
        (repo.repo, snapshot.commit, frozenset(snapshot.refs), snapshot.nbytes, len(snapshot.files))
        for repo in cached_repos()
        for snapshot in repo.snapshots
    }
    assert ours == theirs
    assert len(ours) == 4


def test_a_blob_that_lives_in_a_shared_store_keeps_its_hash(hub_cache: Path, tmp_path: Path) -> None:
    folder = put(hub_cache, FLASH, model_files())
    shard = folder / "model-00001-of-00002.safetensors"
    blob = shard.parent / os.readlink(shard)
    stored = tmp_path / "payload"
    blob.rename(stored)
    blob.symlink_to(stored)
    files = {file.name: file for file in the_only(installed()).files}
    assert files[shard.name].digest == Digest("sha256", hashlib.sha256(stored.read_bytes()).hexdigest())


def test_a_folder_of_ours_that_was_cut_short_is_an_incomplete_model(hub_cache: Path) -> None:
    folder = model_folder(FLASH, COMMIT, "draft")
    folder.mkdir(parents=True)
    (folder / "part.dspark-part").write_bytes(b"x" * 5000)
    draft = the_only(installed())
    assert (draft.name, draft.kind, str(draft.state)) == (
        "deepseek-v4-flash-0731",
        "draft",
        "incomplete: 5.0 kB so far",
    )
