"""What pulling leaves behind, as the store sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.catalog.reference import parse_reference
from dspark_local.errors import HubError, ModelNotFoundError
from dspark_local.hub.events import Event
from dspark_local.hub.intake import Settings
from dspark_local.hub.patience import Patience
from dspark_local.hub.pulling import orders, pull
from dspark_local.store.installed import all_models, installed
from dspark_local.store.removal import execute, plan_removal
from dspark_local.store.resolve import find_draft, find_model, to_remove
from tests.local.hub.stand_in_hub import COMMIT, Faults, StandInHub
from tests.local.store.caches import FLASH, bytes_in, model_files, weights


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for path, content in model_files().items():
        (folder / path).write_bytes(content)
    shard = "model-00002-of-00002.safetensors"
    (folder / shard).write_bytes(weights("mtp.0.main_proj.weight", value=7, size=300_000))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def fetch(hub: StandInHub, **options: bool) -> None:
    events: list[Event] = []
    pull(orders("deepseek-v4-flash-0731", **options), Settings(events.append, endpoint=hub.endpoint))


def remove_everything(text: str) -> int:
    models = to_remove(parse_reference(text))
    removal = plan_removal(models, [model for model in all_models() if model not in models])
    execute(removal)
    return removal.nbytes


def test_a_pulled_model_is_complete_verified_and_found_without_another_look(hub_cache: Path, source: Path) -> None:
    with StandInHub() as hub:
        hub.add(FLASH, source)
        fetch(hub)
    (model,) = installed()
    assert (model.name, model.commit, str(model.state)) == (
        FLASH.lower().split("/")[1],
        COMMIT,
        "complete and verified",
    )
    reads: list[str] = []
    assert find_model("deepseek-v4-flash-0731", lambda name, done, total: reads.append(name)).path == model.path
    assert reads == []
    (model.path / "tokenizer.json").unlink()
    assert installed()[0].state.kind == "incomplete"


def test_a_draft_pulled_alone_is_one_item_and_goes_without_a_trace(hub_cache: Path, source: Path) -> None:
    with StandInHub() as hub:
        hub.add(FLASH, source)
        fetch(hub, draft_only=True)
        (draft,) = installed()
        assert (draft.name, draft.kind) == ("deepseek-v4-flash-0731", "draft")
        assert draft.state.kind != "incomplete"
        assert draft.nbytes == bytes_in(hub_cache / "models--deepseek-ai--DeepSeek-V4-Flash-0731" / "blobs") + bytes_in(
            draft.path
        )
        assert find_draft("deepseek-v4-flash-0731") == draft.path
        assert installed()[0].state.kind == "verified"
        fetch(hub)
    assert {model.kind for model in installed()} == {"draft", "hub cache"}
    before = bytes_in(hub_cache, draft.path)
    freed = remove_everything("deepseek-v4-flash-0731")
    assert freed == before - bytes_in(hub_cache)
    assert not draft.path.exists()
    assert installed() == []


def test_a_pull_cut_short_before_the_index_came_is_incomplete(hub_cache: Path, source: Path) -> None:
    (source / "a-first-shard.safetensors").write_bytes(weights("embed.weight", value=1, size=10))
    with StandInHub() as hub:
        hub.add("owner/model", source)
        hub.faults = {path: Faults(cut_after=0) for path in ("model.safetensors.index.json", "tokenizer.json")}
        hub.faults |= {f"model-0000{number}-of-00002.safetensors": Faults(cut_after=0) for number in (1, 2)}
        patience = Patience(attempts=1, first_wait=0.01)
        with pytest.raises(HubError):
            pull(
                orders("owner/model"),
                Settings([].append, endpoint=hub.endpoint, connections=1, patience=patience),
            )
    (model,) = installed(everything=True)
    assert {file.name for file in model.files} >= {"config.json", "a-first-shard.safetensors"}
    assert model.state.kind == "incomplete"
    with pytest.raises(ModelNotFoundError, match="not whole"):
        find_model("owner/model")
