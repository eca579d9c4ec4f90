from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import dspark_local.catalog
from dspark_local.catalog.recognise import Recognised, recognise_config, recognise_folder
from dspark_local.demo import weights_path
from tests.local.store.caches import weights
from tests.local.store.test_installed import gguf

CONFIGS = Path(dspark_local.catalog.__file__).with_name("configs")


def config(name: str) -> Any:
    return json.loads((CONFIGS / f"{name}.json").read_text())


def test_the_released_configs_tell_family_and_draft() -> None:
    assert recognise_config(config("deepseek-v4-flash")) == Recognised("deepseek_v4", "safetensors", "target", "mtp")
    assert recognise_config(config("deepseek-v4-pro-dspark")) == Recognised(
        "deepseek_v4", "safetensors", "target", "dspark"
    )
    assert recognise_config(config("qwen3-8b")) == Recognised("qwen3", "safetensors", "target", None)


def test_the_names_of_tensors_outweigh_what_the_config_says() -> None:
    says_dspark = config("deepseek-v4-flash-dspark")
    assert recognise_config(says_dspark, {"embed.weight"}) == Recognised("deepseek_v4", "safetensors", "target", None)
    plain = recognise_config(says_dspark, {"embed.weight", "mtp.0.e_proj.weight"})
    assert plain is not None
    assert plain.draft_kind == "mtp"
    alone = recognise_config(says_dspark, {"mtp.0.main_proj.weight", "mtp.2.norm.weight"})
    assert alone == Recognised("deepseek_v4", "safetensors", "draft", "dspark")


@pytest.mark.parametrize(
    ("architecture", "model_type", "family"),
    [("Qwen3DSparkModel", "qwen3", "qwen3"), ("Gemma4DSparkModel", "gemma4_text", "gemma4")],
)
def test_stand_alone_drafts_are_recognised_by_their_architecture(
    architecture: str, model_type: str, family: str
) -> None:
    found = recognise_config({"model_type": model_type, "architectures": [architecture]})
    assert found is not None
    assert (found.family, found.role, found.draft_kind) == (family, "draft", "dspark")


@pytest.mark.parametrize("strange", [None, [], "text", {}, {"model_type": "bert"}, {"model_type": 4}])
def test_other_models_are_not_recognised(strange: Any) -> None:
    assert recognise_config(strange) is None


def test_the_demo_is_recognised_from_its_files() -> None:
    assert recognise_folder(weights_path()) == Recognised("deepseek_v4", "safetensors", "target", "dspark")


def test_without_an_index_the_headers_of_the_shards_are_read(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "deepseek-v4-flash-dspark.json", tmp_path / "config.json")
    (tmp_path / "draft.safetensors").write_bytes(weights("mtp.0.e_proj.weight"))
    assert recognise_folder(tmp_path) == Recognised("deepseek_v4", "safetensors", "draft", "mtp")


def test_gguf_files_are_recognised_by_their_architecture(tmp_path: Path) -> None:
    target, draft = tmp_path / "a.gguf", tmp_path / "b.gguf"
    target.write_bytes(gguf("deepseek4"))
    assert recognise_folder(tmp_path) == Recognised("deepseek_v4", "gguf", "target", None)
    draft.write_bytes(gguf("dflash"))
    assert recognise_folder(draft) == Recognised(None, "gguf", "draft", "dspark")
    assert recognise_folder(tmp_path) == Recognised("deepseek_v4", "gguf", "target", "dspark")
    target.write_bytes(b"GGUF but cut off: general.architecture\x08\0\0\0" + (2**40).to_bytes(8, "little"))
    assert recognise_folder(target) is None
    target.write_bytes(b"no model")
    assert recognise_folder(target) is None


def test_a_directory_that_is_missing_or_damaged_is_nothing(tmp_path: Path) -> None:
    assert recognise_folder(tmp_path / "missing") is None
    (tmp_path / "config.json").write_text("{")
    assert recognise_folder(tmp_path) is None
