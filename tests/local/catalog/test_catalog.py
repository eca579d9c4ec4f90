from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import dspark_local.catalog
from dspark_local.catalog.catalog import close_names, entries, find, find_by_repo
from dspark_local.catalog.schema import Entry
from dspark_local.demo import weights_path

CONFIGS = Path(dspark_local.catalog.__file__).with_name("configs")


def the(name: str) -> Entry:
    entry = find(name)
    assert entry is not None
    return entry


def test_names_are_unique_and_found_in_any_case() -> None:
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))
    assert find("DeepSeek-V4-Flash") == the("deepseek-v4-flash")
    assert find("nothing") is None


def test_every_model_that_the_project_is_about_is_there() -> None:
    repos = {source.repo for entry in entries() for source in (entry.target, entry.draft) if source is not None}
    official = {f"deepseek-ai/DeepSeek-V4-{name}" for name in ("Flash", "Flash-0731", "Flash-DSpark")}
    official |= {f"deepseek-ai/DeepSeek-V4-{name}" for name in ("Pro", "Pro-DSpark", "Pro-0813")}
    drafts = {f"deepseek-ai/dspark_{name}_block7" for name in ("qwen3_4b", "qwen3_8b", "qwen3_14b", "gemma4_12b")}
    targets = {"Qwen/Qwen3-4B", "Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "google/gemma-4-12B-it"}
    assert official | drafts | targets <= repos


def test_the_draft_is_inside_exactly_for_deepseek_v4_checkpoints() -> None:
    for entry in entries():
        assert entry.draft_in_target == (entry.family == "deepseek_v4" and entry.format == "safetensors"), entry.name


def test_only_deepseek_v4_checkpoints_are_said_to_run() -> None:
    for entry in entries():
        runs = entry.family == "deepseek_v4" and entry.format == "safetensors"
        assert entry.engine == ("native" if runs else "not yet"), entry.name


def test_dspark_and_plain_mtp_are_told_apart() -> None:
    assert [entry.name for entry in entries() if entry.draft_kind == "mtp"] == ["deepseek-v4-flash", "deepseek-v4-pro"]


def test_sizes_are_those_of_the_published_inventory() -> None:
    # Tensor payloads of the released layouts: 43 or 61 layers, embedding, head, and one MTP or three DSpark stages.
    assert the("deepseek-v4-flash").target.nbytes == pytest.approx(159_617e6, abs=1e6)
    assert the("deepseek-v4-flash-0731").nbytes == 166_878_536_440
    assert the("deepseek-v4-flash-dspark").nbytes == 156_015_698_140 + 10_862_838_300
    assert the("deepseek-v4-pro").nbytes == 864_704_792_696
    assert the("deepseek-v4-pro-0813").nbytes == the("deepseek-v4-pro-dspark").nbytes == 892_727_580_904


@pytest.mark.parametrize("size", ["4b", "8b", "14b"])
def test_the_sizes_of_qwen3_and_its_drafts_follow_from_the_shapes(size: str) -> None:
    entry = the(f"qwen3-{size}")
    assert entry.draft is not None
    config = json.loads((CONFIGS / f"{entry.config}.json").read_text())
    vocabulary, width = config["vocab_size"], config["hidden_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    layer = 2 * width * query + 2 * width * key + 3 * width * config["intermediate_size"]
    layer += 2 * width + 2 * config["head_dim"]
    matrices = 1 if config["tie_word_embeddings"] else 2
    target = matrices * vocabulary * width + config["num_hidden_layers"] * layer + width
    # Five layers, own embedding and head, a projection of five tapped layers, a rank 256 Markov head, a confidence.
    draft = 2 * vocabulary * width + 5 * layer + 5 * width**2 + 2 * width + 2 * vocabulary * 256 + (width + 256) + 1
    assert (entry.target.nbytes, entry.draft.nbytes) == (2 * target, 2 * draft)


def test_an_unknown_size_makes_the_sum_unknown() -> None:
    entry = the("gemma4-12b")
    assert entry.draft is not None
    assert entry.draft.nbytes is None
    assert entry.nbytes is None


def test_the_demo_is_the_checkpoint_in_this_package() -> None:
    entry = the("demo")
    assert entry.is_bundled
    assert entry.nbytes == sum(file.stat().st_size for file in weights_path().glob("*.safetensors"))
    config = json.loads((weights_path() / "config.json").read_text())
    generation = json.loads((weights_path() / "generation_config.json").read_text())
    assert entry.context_max == config["max_position_embeddings"]
    assert (entry.sampling.temperature, entry.sampling.top_p) == (generation["temperature"], generation["top_p"])


def test_every_config_that_an_entry_names_exists_and_is_of_its_family() -> None:
    for entry in entries():
        if entry.config is not None:
            config = json.loads((CONFIGS / f"{entry.config}.json").read_text())
            assert config["model_type"].startswith(entry.family), entry.name
            assert entry.context_max <= config["max_position_embeddings"], entry.name


def test_the_disk_asked_for_holds_the_files_and_comfort_is_never_less_than_the_minimum() -> None:
    for entry in entries():
        assert entry.nbytes is None or entry.minimum.disk_gb * 1e9 >= entry.nbytes, entry.name
        least, most = entry.minimum, entry.comfortable
        assert (least.vram_gib, least.ram_gib, least.disk_gb) <= (most.vram_gib, most.ram_gib, most.disk_gb)
        assert least.ram_gib <= most.ram_gib, entry.name


def test_no_revision_is_pinned_that_nobody_published() -> None:
    sources = [source for entry in entries() for source in (entry.target, entry.draft) if source is not None]
    assert {source.revision for source in sources} == {"main"}


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("deepseek-v4-flsh", "deepseek-v4-flash"),
        ("DeepSeek_V4_Pro", "deepseek-v4-pro"),
        ("qwen3-8", "qwen3-8b"),
        ("gemma4", "gemma4-12b"),
        ("v4-pro", "deepseek-v4-pro"),
    ],
)
def test_a_mistyped_name_is_recognised(mistyped: str, meant: str) -> None:
    assert meant in close_names(mistyped)


def test_a_name_that_resembles_nothing_suggests_nothing() -> None:
    assert close_names("xyzzy") == ()


def test_a_repository_names_its_entries() -> None:
    assert [entry.name for entry in find_by_repo("deepseek-ai/deepseek-v4-flash")] == ["deepseek-v4-flash"]
    assert len(find_by_repo("unsloth/DeepSeek-V4-Flash-0731-GGUF")) == 2
    assert find_by_repo("") == ()


def test_patterns_choose_files_of_a_repository() -> None:
    source = the("deepseek-v4-flash-gguf").target
    assert source.takes("UD-Q8_K_XL/DeepSeek-V4-Flash-0731-UD-Q8_K_XL-00001-of-00005.gguf")
    assert not source.takes("UD-IQ3_XXS/DeepSeek-V4-Flash-0731-UD-IQ3_XXS-00001-of-00004.gguf")
    assert the("qwen3-4b").target.takes("anything")


@pytest.mark.parametrize(
    "change",
    [
        {"draft_kind": None},
        {"draft": {"repo": "a/b"}},
        {"context_recommended": 2**21},
        {"is_bundled": True},
        {"name": "Has Spaces"},
        {"unknown": 1},
        {"engine": "someday"},
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    valid = the("deepseek-v4-flash").model_dump()
    assert Entry.model_validate(valid)
    with pytest.raises(ValidationError):
        Entry.model_validate(valid | change)
