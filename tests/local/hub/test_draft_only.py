"""--draft-only moves the draft and little else, and what arrives loads as a draft."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dspark_local.errors import HubError, UsageError
from dspark_local.hub.draft_layout import excerpt
from dspark_local.store.manifest import read_manifest
from dspark_local.store.verified import VerifiedFiles
from dspark_models.loading import load_drafter, load_target
from tests.local.hub.conftest import Setting
from tests.local.hub.stand_in_hub import Faults
from tests.models.checkpoints import INDEX_NAME, Checkpoint, random_checkpoint
from tests.models.configs import FLASH

HEADERS_AND_CONFIG = 400_000


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint({**FLASH, "n_routed_experts": 16}, draft="dspark")


def _draft_bytes(checkpoint: Checkpoint) -> int:
    return sum(t.numel() * t.element_size() for name, t in checkpoint.stored.items() if name.startswith("mtp."))


def _write_mixed(checkpoint: Checkpoint, path: Path, *, single: bool = False) -> Path:
    """Draft tensors spread over shards that hold the target's as well, or one file for everything."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(checkpoint.config))
    names = sorted(checkpoint.stored)
    if single:
        save_file({name: checkpoint.stored[name].contiguous() for name in names}, path / "model.safetensors")
        return path
    weight_map = {name: f"model-{number % 2 + 1:05}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(weight_map.values()):
        own = {name: checkpoint.stored[name].contiguous() for name in names if weight_map[name] == file}
        # Weight that belongs to nobody, so that the draft is the smaller part of each shard.
        own[f"ballast.{file}"] = torch.zeros(4_000_000, dtype=torch.uint8)
        weight_map[f"ballast.{file}"] = file
        save_file(own, path / file)
    (path / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def _served(setting: Setting) -> int:
    return setting.hub.served.total()


def _assert_is_the_draft(folder: Path, checkpoint: Checkpoint) -> None:
    found = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    wanted = {name: tensor for name, tensor in checkpoint.stored.items() if name.startswith("mtp.")}
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name].view(torch.uint8), tensor.contiguous().view(torch.uint8)), name
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.kind == "draft"
    assert {file.path for file in manifest.files} == {path.name for path in folder.iterdir()} - {"dspark-model.json"}
    for file in folder.glob("*.safetensors"):
        assert VerifiedFiles().holds(file)


def test_shards_of_the_draft_alone_are_fetched_whole_and_nothing_else(setting: Setting, checkpoint: Checkpoint) -> None:
    source = checkpoint.write(setting.root / "source")
    setting.hub.add("owner/model", source)
    result = setting.pull(draft_only=True)
    weight_map = json.loads((source / INDEX_NAME).read_text())["weight_map"]
    draft_shards = {file for name, file in weight_map.items() if name.startswith("mtp.")}
    small = {"config.json", INDEX_NAME}
    assert set(setting.hub.served) == draft_shards | small
    assert _served(setting) == sum((source / name).stat().st_size for name in draft_shards | small)
    (draft,) = result.models
    _assert_is_the_draft(draft.folder, checkpoint)
    setting.assert_progress_never_falls()


@pytest.mark.parametrize("single", [False, True])
def test_of_mixed_shards_only_the_drafts_ranges_are_fetched(
    setting: Setting, checkpoint: Checkpoint, single: bool
) -> None:
    setting.hub.add("owner/model", _write_mixed(checkpoint, setting.root / "source", single=single))
    result = setting.pull(draft_only=True)
    assert _draft_bytes(checkpoint) <= _served(setting) < _draft_bytes(checkpoint) + HEADERS_AND_CONFIG
    assert any("records no hash for a part of a file" in notice for notice in setting.notices)
    _assert_is_the_draft(result.models[0].folder, checkpoint)
    setting.assert_progress_never_falls()


def test_the_draft_loads_and_drafts_for_its_target(setting: Setting, checkpoint: Checkpoint) -> None:
    whole = checkpoint.write(setting.root / "whole")
    setting.hub.add("owner/model", _write_mixed(checkpoint, setting.root / "source"))
    folder = setting.pull(draft_only=True).models[0].folder
    target = load_target(whole, dtype="float32")
    assert load_drafter(folder, target) is not None


def test_a_second_call_moves_nothing_but_headers(setting: Setting, checkpoint: Checkpoint) -> None:
    setting.hub.add("owner/model", _write_mixed(checkpoint, setting.root / "source"))
    first = setting.pull(draft_only=True)
    before = _served(setting)
    second = setting.pull(draft_only=True)
    assert _served(setting) - before < HEADERS_AND_CONFIG
    assert second.models == first.models


def test_an_interrupted_draft_goes_on_where_it_was(setting: Setting, checkpoint: Checkpoint) -> None:
    source = _write_mixed(checkpoint, setting.root / "source")
    setting.hub.add("owner/model", source)
    name = "model-00001-of-00002.safetensors"
    size = (source / name).stat().st_size
    setting.hub.faults[name] = Faults(cut_after=200_000)
    setting.pull(draft_only=True, segment_bytes=2**30)
    assert size > 4_000_000
    assert _served(setting) < 1.1 * _draft_bytes(checkpoint) + HEADERS_AND_CONFIG


def test_other_content_than_listed_never_becomes_a_part(setting: Setting, checkpoint: Checkpoint) -> None:
    setting.hub.add("owner/model", _write_mixed(checkpoint, setting.root / "source"))
    setting.hub.faults["model-00002-of-00002.safetensors"] = Faults(wrong_etag=True)
    with pytest.raises(HubError.__base__, match="the hub now names ffffffffffff"):
        setting.pull(draft_only=True)
    assert not list((setting.root / "dspark").rglob("dspark-model.json"))


def test_without_protection_the_whole_shard_is_taken(
    setting: Setting, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _write_mixed(checkpoint, setting.root / "source")
    setting.hub.add("owner/model", source)
    monkeypatch.setattr("dspark_local.hub.draft_only.is_loopback", lambda host: False)
    setting.pull(draft_only=True)
    assert all(setting.hub.served[path.name] == path.stat().st_size for path in source.glob("*.safetensors"))


def test_a_checkpoint_without_draft_is_said_so(setting: Setting) -> None:
    setting.hub.add("owner/model", random_checkpoint(FLASH).write(setting.root / "source"))
    with pytest.raises(UsageError, match="holds no draft"):
        setting.pull(draft_only=True)


def test_neighbouring_tensors_are_one_range() -> None:
    header = json.dumps(
        {
            "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "mtp.b": {"dtype": "U8", "shape": [6], "data_offsets": [4, 10]},
            "mtp.c": {"dtype": "U8", "shape": [2], "data_offsets": [10, 12]},
            "d": {"dtype": "U8", "shape": [1], "data_offsets": [12, 13]},
            "mtp.e": {"dtype": "U8", "shape": [3], "data_offsets": [13, 16]},
        }
    ).encode()
    found = excerpt(header, 8 + len(header) + 16, "x", lambda name: name.startswith("mtp."))
    assert [(piece.source - 8 - len(header), piece.length) for piece in found.pieces] == [(4, 8), (13, 3)]
    assert found.nbytes == 11
