"""A model that is repacked while it is pulled: one copy on the disk, nothing lost, nothing fetched twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dspark_local.errors import IntegrityError, UsageError
from dspark_local.hub.cache import RepoCache
from dspark_local.hub.pulling import PullResult
from dspark_local.store.installed import all_models
from dspark_local.store.manifest import read_manifest
from dspark_local.store.resolve import find_model
from dspark_models.checkpoint import Checkpoint as Opened
from tests.local.hub.conftest import Setting
from tests.local.hub.stand_in_hub import Faults
from tests.models.checkpoints import Checkpoint, random_checkpoint
from tests.models.configs import FLASH


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint({**FLASH, "n_routed_experts": 16}, draft="dspark")


@pytest.fixture
def source(setting: Setting, checkpoint: Checkpoint) -> Path:
    folder = checkpoint.write(setting.root / "source", tokenizer=True)
    setting.hub.add("owner/model", folder)
    return folder


def assert_is_the_model(result: PullResult, checkpoint: Checkpoint, setting: Setting) -> None:
    (pulled,) = result.models
    opened = Opened.open(pulled.folder)
    assert opened.bank is not None
    assert opened.tensors.keys() == checkpoint.stored.keys()
    for name, tensor in checkpoint.stored.items():
        expected = tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(opened.get(name).reshape(-1).view(torch.uint8), expected), name
    (model,) = all_models()
    assert (model.kind, str(model.state), model.path) == ("repacked", "complete and verified", pulled.folder)
    assert find_model("owner/model").path == pulled.folder
    left = [path for path in setting.cache.rglob("*") if path.is_file() and ".locks" not in path.parts]
    assert left == []


def disk_bytes(*folders: Path) -> int:
    files = {path.stat().st_ino: path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return sum(512 * path.stat().st_blocks for path in files.values())


def test_a_repacked_pull_holds_every_tensor_bit_for_bit_and_clears_the_cache(
    setting: Setting, checkpoint: Checkpoint, source: Path
) -> None:
    result = setting.pull(repack=True)
    assert_is_the_model(result, checkpoint, setting)
    setting.assert_progress_never_falls()
    served = setting.hub.served.total()
    again = setting.pull(repack=True)
    assert again.moved_bytes == 0
    assert setting.hub.served.total() == served
    without_the_option = setting.pull()
    assert without_the_option.models[0].folder == result.models[0].folder
    assert setting.hub.served.total() == served


def test_the_disk_never_holds_two_full_copies(setting: Setting, checkpoint: Checkpoint, source: Path) -> None:
    shards = sorted(source.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    whole = sum(path.stat().st_size for path in source.iterdir())
    most = 0
    drop = RepoCache.drop

    def measured(cache: RepoCache, pointer: Path) -> None:
        nonlocal most
        most = max(most, disk_bytes(setting.cache, setting.root / "dspark"))
        drop(cache, pointer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RepoCache, "drop", measured)
        setting.pull(repack=True, connections=1)
    assert 0 < most < whole + 3 * shards[-1].stat().st_size < 2 * whole


@pytest.mark.parametrize("broken", [1, 4])
def test_a_repacked_pull_that_fails_half_way_continues_without_fetching_again(
    setting: Setting, checkpoint: Checkpoint, source: Path, broken: int
) -> None:
    names = sorted(path.name for path in source.glob("*.safetensors"))
    setting.hub.faults[names[broken]] = Faults(flip_at=(source / names[broken]).stat().st_size - 1000)
    with pytest.raises(IntegrityError, match=names[broken]):
        setting.pull(repack=True, connections=1)
    finished = [name for name in names if name != names[broken]]
    before = {name: setting.hub.served[name] for name in finished}
    setting.hub.faults.clear()
    result = setting.pull(repack=True)
    assert {name: setting.hub.served[name] for name in finished} == before
    assert_is_the_model(result, checkpoint, setting)


def test_a_pull_without_the_option_goes_on_repacking_what_was_begun(
    setting: Setting, checkpoint: Checkpoint, source: Path
) -> None:
    last = max(path.name for path in source.glob("*.safetensors"))
    setting.hub.faults[last] = Faults(flip_at=(source / last).stat().st_size - 1000)
    with pytest.raises(IntegrityError, match=last):
        setting.pull(repack=True)
    setting.hub.faults.clear()
    assert_is_the_model(setting.pull(), checkpoint, setting)


def test_shards_that_were_here_before_are_repacked_without_the_network(
    setting: Setting, checkpoint: Checkpoint, source: Path
) -> None:
    setting.pull()
    served = setting.hub.served.total()
    result = setting.pull(repack=True)
    headers = setting.hub.served.total() - served
    assert headers < 0.1 * served
    assert_is_the_model(result, checkpoint, setting)


def test_a_header_that_arrives_damaged_is_not_planned_with(
    setting: Setting, checkpoint: Checkpoint, source: Path
) -> None:
    first = min(path.name for path in source.glob("*.safetensors"))
    digit = (source / first).read_bytes().index(b'"data_offsets":[') + len(b'"data_offsets":[')
    setting.hub.faults[first] = Faults(flip_at=digit, flips=1)
    assert_is_the_model(setting.pull(repack=True), checkpoint, setting)


def test_content_that_a_draft_links_to_stays(setting: Setting, checkpoint: Checkpoint, source: Path) -> None:
    draft = setting.pull(draft_only=True).models[0].folder
    setting.pull(repack=True)
    links = [path for path in draft.iterdir() if path.is_symlink()]
    assert links
    assert all(os.path.exists(link) for link in links)


def test_a_model_without_experts_is_refused_before_its_weights_move(setting: Setting) -> None:
    folder = setting.root / "plain"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.gguf").write_bytes(b"GGUF" + bytes(200_000))
    setting.hub.add("owner/model", folder)
    with pytest.raises(UsageError, match="shards"):
        setting.pull(repack=True, include=["*.gguf"])
    assert setting.hub.served["weights.gguf"] == 0


def test_a_manifest_names_every_file_of_the_repacked_folder(setting: Setting, source: Path) -> None:
    folder = setting.pull(repack=True).models[0].folder
    manifest = read_manifest(folder)
    assert manifest is not None
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {file.path for file in manifest.files} == names - {"dspark-model.json"}
    assert (manifest.repo, manifest.revision, manifest.kind) == ("owner/model", "main", "repacked")


@pytest.mark.parametrize("remove", [False, True])
def test_a_pulled_model_is_repacked_by_its_name_and_found_there_from_then_on(
    setting: Setting, checkpoint: Checkpoint, source: Path, remove: bool
) -> None:
    from dspark_local.commands.repack import repack

    cached = setting.pull().models[0].folder
    repack("owner/model", None, remove_source=remove, yes=True, as_json=True)
    folder = find_model("owner/model").path
    assert Opened.open(folder).bank is not None
    states = {model.kind: str(model.state) for model in all_models()}
    assert states["repacked"] == "complete and verified"
    assert cached.exists() is not remove
    assert ("hub cache" in states) is not remove
    assert setting.pull().moved_bytes == 0
    with pytest.raises(UsageError, match="already"):
        repack("owner/model", None, remove_source=False, yes=True, as_json=True)


@pytest.mark.parametrize("damage", ["a flipped bit", "a missing file"])
def test_a_damaged_repacked_folder_is_not_told_to_be_here(setting: Setting, source: Path, damage: str) -> None:
    folder = setting.pull(repack=True).models[0].folder
    bank = min((folder / "experts").glob("*.bank"))
    content = bytearray(bank.read_bytes())
    content[1000] ^= 1
    bank.write_bytes(content)
    if damage == "a missing file":
        bank.unlink()
    with pytest.raises(IntegrityError, match=bank.name) as caught:
        setting.pull()
    assert "rm owner/model --only repacked" in caught.value.hint


def test_a_repacking_pull_that_was_cut_is_continued_by_what_the_store_advises(setting: Setting, source: Path) -> None:
    last = max(source.glob("*.safetensors"))
    setting.hub.faults[last.name] = Faults(flip_at=last.stat().st_size - 1)
    with pytest.raises(IntegrityError):
        setting.pull(repack=True)
    (unfinished,) = (model for model in all_models() if model.kind == "repacked")
    assert "dspark-local pull owner/model --repack" in unfinished.repair


def test_what_repacking_a_pulled_model_advises_frees_the_cache(
    setting: Setting, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dspark_local.commands.remove import remove
    from dspark_local.commands.repack import repack

    setting.pull()
    repack("owner/model", None, remove_source=False, yes=True, as_json=False)
    shown = capsys.readouterr().out
    assert 'dspark-local run --model owner/model "..."' in shown
    assert "dspark-local rm owner/model --only cache" in shown
    remove("owner/model", yes=True, only="cache", as_json=False)
    assert [model.kind for model in all_models()] == ["repacked"]
