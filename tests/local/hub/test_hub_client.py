"""huggingface_hub itself is the judge of what we leave in its cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache

from tests.local.hub.conftest import Setting
from tests.local.hub.stand_in_hub import COMMIT, random_folder

FILES = {
    "model-1.safetensors": 3_000_000,
    "model-2.safetensors": 200_000,
    "sub/settings.json": 10,
    "tokenizer.json": 50,
}


def _pulled(setting: Setting) -> Path:
    folder = random_folder(setting.root / "source", FILES)
    setting.hub.add("owner/model", folder)
    setting.pull()
    return folder


def test_the_hubs_own_client_finds_every_file_cached(setting: Setting) -> None:
    folder = _pulled(setting)
    for name in FILES:
        found = try_to_load_from_cache("owner/model", name, cache_dir=setting.cache)
        assert isinstance(found, str)
        assert Path(found).read_bytes() == (folder / name).read_bytes()
        again = hf_hub_download("owner/model", name, cache_dir=setting.cache, local_files_only=True)
        assert Path(again).resolve() == Path(found).resolve()


def test_the_hubs_own_snapshot_is_ours_and_downloads_nothing(setting: Setting) -> None:
    _pulled(setting)
    offline = snapshot_download("owner/model", cache_dir=setting.cache, local_files_only=True)
    served = setting.hub.served.total()
    online = snapshot_download("owner/model", cache_dir=setting.cache, endpoint=setting.hub.endpoint)
    assert Path(online) == Path(offline) == setting.cache / "models--owner--model" / "snapshots" / COMMIT
    assert setting.hub.served.total() == served


def test_the_hubs_own_verification_agrees(setting: Setting) -> None:
    _pulled(setting)
    verdict = HfApi(endpoint=setting.hub.endpoint).verify_repo_checksums("owner/model", cache_dir=setting.cache)
    assert verdict.checked_count == len(FILES) + 1
    assert not verdict.mismatches
    assert not verdict.missing_paths


def test_the_hubs_own_scan_knows_the_model_and_can_delete_it(setting: Setting) -> None:
    _pulled(setting)
    report = scan_cache_dir(setting.cache)
    assert not report.warnings
    (repo,) = report.repos
    assert repo.repo_id == "owner/model"
    assert repo.nb_files == len(FILES) + 1
    report.delete_revisions(COMMIT).execute()
    assert not (setting.cache / "models--owner--model").exists()


def test_what_the_hubs_own_client_downloaded_is_checked_and_kept(setting: Setting) -> None:
    folder = random_folder(setting.root / "source", FILES)
    setting.hub.add("owner/model", folder)
    snapshot_download("owner/model", cache_dir=setting.cache, endpoint=setting.hub.endpoint)
    served = setting.hub.served.total()
    result = setting.pull()
    assert (result.moved_bytes, setting.hub.served.total()) == (0, served)
