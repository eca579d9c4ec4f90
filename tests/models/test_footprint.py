"""What is counted on paper equals what is stored and allocated."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files

import pytest
import torch

from dspark_models import Numerics, load_drafter, load_target
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.footprint import (
    DraftKind,
    WeightFootprint,
    cache_bytes,
    checkpoint_footprint,
    draft_cache_bytes,
    draft_kind,
    release_footprint,
)
from tests.models.conftest import Tiny
from tests.models.drafts import Recorder, request
from tests.models.feeding import append, drafting, feed, sequences

NUMERICS = {
    "float32": Numerics(),
    "bfloat16": Numerics(torch.bfloat16, activation_fp8=True, kv_fp8=True, index_fp4=True),
    "auto": Numerics(activation_fp8=True, kv_fp8=True, index_fp4=True),
}


def released(name: str, draft: DraftKind) -> WeightFootprint:
    text = (files("dspark_local") / "catalog" / "configs" / f"deepseek-v4-{name}.json").read_text()
    return release_footprint(DeepseekV4Config.parse(json.loads(text)), draft)


def test_flash_weighs_what_its_published_files_weigh_to_the_byte() -> None:
    preview, dspark = released("flash", "mtp"), released("flash-dspark", "dspark")
    # The index files of the preview and of the DSpark release give these totals.
    assert preview.target + preview.draft == 159_609_485_896
    assert dspark.target + dspark.draft == 166_878_536_440
    assert preview.target == dspark.target == 156_015_698_140
    assert preview.expert_bytes == dspark.draft_expert_bytes == 13_369_344
    assert sum(layer.routed for layer in preview.layers) == 147_169_738_752
    assert sum(layer.dense for layer in preview.layers) == 6_727_565_512
    assert {layer.routed for layer in preview.layers} == {3_422_552_064}
    for layer, nbytes in ((0, 143_596_888), (1, 143_596_888), (2, 173_503_576), (3, 146_044_248), (4, 167_299_160)):
        assert preview.layers[layer].dense == nbytes
    assert preview.unit("embed").total == 1_059_061_760
    assert preview.unit("head").total == 1_059_332_116
    assert preview.unit("mtp.0").total == 3_593_787_756
    assert [stage.total for stage in dspark.stages] == [3_610_287_448, 3_559_944_536, 3_692_606_316]
    assert [stage.dense for stage in dspark.stages] == [187_735_384, 137_392_472, 270_054_252]


def test_pro_weighs_what_its_published_files_weigh_to_the_byte() -> None:
    preview, dspark = released("pro", "mtp"), released("pro-dspark", "dspark")
    assert preview.target + preview.draft == 864_704_792_696
    assert dspark.target + dspark.draft == 892_727_580_904
    assert preview.expert_bytes == 35_094_528
    assert {layer.routed for layer in preview.layers} == {13_476_298_752}
    assert sum(layer.dense for layer in preview.layers) == 24_986_791_864
    for layer, nbytes in ((0, 398_167_576), (2, 433_447_448), (3, 391_963_672), (4, 427_243_544)):
        assert preview.layers[layer].dense == nbytes
    assert preview.unit("embed").total == 1_853_358_080
    assert preview.unit("mtp.0").total == 13_956_587_692
    assert [stage.total for stage in dspark.stages] == [14_007_483_608, 13_853_319_192, 14_118_573_100]


@pytest.mark.parametrize("name", ["FLASH", "FLASH_ODD", "PRO", "RELEASE", "RELEASE_ROWS"])
@pytest.mark.parametrize("draft", ["mtp", "dspark"])
def test_config_alone_tells_the_bytes_of_a_file(tiny: Callable[..., Tiny], name: str, draft: DraftKind) -> None:
    model = tiny(name, draft)
    checkpoint = Checkpoint.open(model.path)
    assert draft_kind(checkpoint) == (draft, 1 if draft == "mtp" else 3)
    counted = release_footprint(DeepseekV4Config.parse(model.config), draft)
    stored = checkpoint_footprint(checkpoint)
    assert {unit.name: unit for unit in counted.units} == {unit.name: unit for unit in stored.units}
    assert (counted.expert_bytes, counted.draft_expert_bytes) == (stored.expert_bytes, stored.draft_expert_bytes)
    assert stored.target + stored.draft == sum(t.nbytes for t in model.checkpoint.stored.values())


@pytest.mark.parametrize("name", ["FLASH", "PRO", "RELEASE", "RELEASE_ROWS"])
@pytest.mark.parametrize("draft", ["mtp", "dspark"])
@pytest.mark.parametrize("dtype", NUMERICS)
@pytest.mark.parametrize(("context", "count"), [(3, 1), (130, 2), (1001, 3)])
def test_caches_are_counted_as_they_are_allocated(
    tiny: Callable[..., Tiny], name: str, draft: DraftKind, dtype: str, context: int, count: int
) -> None:
    if name in ("FLASH", "PRO") and dtype != "float32":
        name = "RELEASE"  # the release's row formats ask for its group sizes
    model = tiny(name, draft)
    target = load_target(model.path, dtype=dtype, device="cpu", context_length=context, max_sequences=count)
    drafter = load_drafter(model.path, target, max_sequences=count)
    assert drafter is not None
    config, numerics = target.config, NUMERICS[dtype]
    held = target.bytes_held()
    counted = cache_bytes(config, numerics, context=context, sequences=count)
    assert counted == {part: held[part] for part in counted}
    assert held.keys() - counted.keys() == {"weights", "expanded"}
    footprint = checkpoint_footprint(Checkpoint.open(model.path))
    assert held["weights"] == footprint.target
    draft_held = drafter.bytes_held()
    assert draft_held.pop("draft_weights") == footprint.draft
    assert draft_held == draft_cache_bytes(config, numerics, draft, sequences=count)


@pytest.mark.parametrize("draft", ["mtp", "dspark"])
@pytest.mark.parametrize("dtype", NUMERICS)
def test_expanded_matrices_are_counted_as_a_pass_leaves_them(
    tiny: Callable[..., Tiny], draft: DraftKind, dtype: str
) -> None:
    model = tiny("RELEASE", draft)
    target, drafter = model.load(dtype=dtype)
    bound = checkpoint_footprint(Checkpoint.open(model.path), NUMERICS[dtype]).expanded
    length = 120  # more entries than index_topk, or the indexer's queries are never made
    with sequences(target) as (sequence,), drafting(drafter) as (draft_sequence,):
        _, taps = feed(target, sequence, model.ids[:length], [40])
        append(target, sequence, model.ids[length : length + 1])
        drafter.observe(draft_sequence, 0, taps)
        drafter.draft([request(draft_sequence, int(model.ids[length]), length, Recorder())])
    assert target.bytes_held()["expanded"] == bound


def test_the_demo_takes_what_is_counted() -> None:
    from dspark_local.demo import weights_path

    target = load_target(weights_path(), device="cpu")
    drafter = load_drafter(weights_path(), target)
    assert drafter is not None
    footprint = checkpoint_footprint(Checkpoint.open(weights_path()), target.arithmetic)
    counted = {
        "weights": footprint.target,
        "draft_weights": footprint.draft,
        **cache_bytes(target.config, target.arithmetic, context=target.context_length, sequences=2),
        **draft_cache_bytes(target.config, target.arithmetic, "dspark", sequences=2),
    }
    held = target.bytes_held() | drafter.bytes_held()
    assert held.pop("expanded") <= footprint.expanded
    assert counted == held


def test_a_dspark_draft_without_its_fields_is_refused() -> None:
    text = (files("dspark_local") / "catalog" / "configs" / "deepseek-v4-flash.json").read_text()
    with pytest.raises(ValueError, match="dspark_"):
        release_footprint(DeepseekV4Config.parse(json.loads(text)), "dspark")
