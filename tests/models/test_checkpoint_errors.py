"""What is wrong with a checkpoint is said in one error that names the tensor, the field or the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.checkpoints import INDEX_NAME, Checkpoint, random_checkpoint, write_shards
from tests.models.configs import FLASH

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def good() -> Checkpoint:
    return random_checkpoint(FLASH, draft="dspark")


def load(path: Path, *, draft: bool = False) -> None:
    from dspark_models import load_drafter, load_target

    target = load_target(path, dtype="float32", device="cpu", context_length=64, max_sequences=1)
    if draft:
        load_drafter(path, target)


def refusal(path: Path, *, draft: bool = False) -> str:
    """The error's text; that it is a CheckpointError is part of the test."""
    from dspark_models import CheckpointError

    with pytest.raises(CheckpointError) as caught:
        load(path, draft=draft)
    assert caught.value.message
    return f"{caught.value.message} {caught.value.hint}"


def with_tensors(good: Checkpoint, path: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = dict(good.stored)
    change(tensors)
    return Checkpoint(good.config, tensors).write(path)


def with_config(good: Checkpoint, path: Path, **fields: Any) -> Path:
    config = {**good.config, **fields}
    return Checkpoint({k: v for k, v in config.items() if v is not ...}, good.stored).write(path)


def test_the_untouched_checkpoint_loads(good: Checkpoint, tmp_path: Path) -> None:
    load(good.write(tmp_path / "model"), draft=True)


@pytest.mark.parametrize(
    "name",
    [
        "embed.weight",
        "hc_head_scale",
        "layers.0.attn.attn_sink",
        "layers.0.ffn.gate.tid2eid",
        "layers.2.attn.indexer.compressor.ape",
        "layers.3.attn.compressor.wgate.weight",
        "layers.3.ffn.gate.bias",
        "layers.4.ffn.experts.7.w2.scale",
        "layers.1.attn.wq_b.scale",
    ],
)
def test_a_missing_tensor_is_named(good: Checkpoint, tmp_path: Path, name: str) -> None:
    assert name in refusal(with_tensors(good, tmp_path / "model", lambda tensors: tensors.pop(name)))


@pytest.mark.parametrize(
    "name",
    ["mtp.0.main_norm.weight", "mtp.2.markov_head.markov_w2.weight", "mtp.1.attn.wkv.scale", "mtp.2.hc_head_fn"],
)
def test_a_missing_tensor_of_the_draft_is_named(good: Checkpoint, tmp_path: Path, name: str) -> None:
    assert name in refusal(with_tensors(good, tmp_path / "model", lambda tensors: tensors.pop(name)), draft=True)


@pytest.mark.parametrize(
    "name", ["layers.0.ffn.gate.bias", "layers.5.attn_norm.weight", "layers.3.attn.indexer.wq_b.weight", "extra.weight"]
)
def test_a_surplus_tensor_is_named(good: Checkpoint, tmp_path: Path, name: str) -> None:
    path = with_tensors(good, tmp_path / "model", lambda tensors: tensors.update({name: torch.zeros(8)}))
    assert name in refusal(path)


def test_a_surplus_tensor_of_the_draft_is_named(good: Checkpoint, tmp_path: Path) -> None:
    name = "mtp.1.enorm.weight"
    path = with_tensors(good, tmp_path / "model", lambda tensors: tensors.update({name: torch.zeros(8)}))
    assert name in refusal(path, draft=True)


@pytest.mark.parametrize(
    "name",
    [
        "layers.0.attn.wq_a.weight",
        "layers.0.attn.wq_a.scale",
        "layers.2.ffn.experts.0.w1.weight",
        "layers.2.ffn.experts.0.w1.scale",
        "layers.3.attn.compressor.ape",
        "layers.1.ffn.gate.tid2eid",
        "norm.weight",
    ],
)
def test_a_wrong_shape_is_named_with_both_shapes(good: Checkpoint, tmp_path: Path, name: str) -> None:
    def grow(tensors: Tensors) -> None:
        raw = tensors[name].view(torch.uint8) if tensors[name].element_size() == 1 else tensors[name]
        tensors[name] = torch.cat([raw, raw]).view(tensors[name].dtype)

    message = refusal(with_tensors(good, tmp_path / "model", grow))
    assert name in message
    assert str(good.stored[name].shape[0]) in message
    assert str(2 * good.stored[name].shape[0]) in message


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("layers.0.attn.wq_a.weight", torch.bfloat16),
        ("layers.0.attn.wq_a.scale", torch.float16),
        ("layers.2.ffn.experts.0.w1.weight", torch.int16),
        ("layers.0.ffn.gate.tid2eid", torch.float32),
        ("layers.0.attn_norm.weight", torch.int32),
    ],
)
def test_a_wrong_dtype_is_named(good: Checkpoint, tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    def cast(tensors: Tensors) -> None:
        tensors[name] = torch.ones(tensors[name].shape).to(dtype)

    assert name in refusal(with_tensors(good, tmp_path / "model", cast))


@pytest.mark.parametrize("keep", [0, 5, 200, -1, -4096])
def test_a_truncated_shard_is_named(good: Checkpoint, tmp_path: Path, keep: int) -> None:
    path = good.write(tmp_path / "model")
    shard = sorted(path.glob("*.safetensors"))[2]
    content = shard.read_bytes()
    shard.write_bytes(content[:keep])
    assert shard.name in refusal(path)


def test_a_shard_with_a_corrupt_header_is_named(good: Checkpoint, tmp_path: Path) -> None:
    path = good.write(tmp_path / "model")
    shard = sorted(path.glob("*.safetensors"))[1]
    content = bytearray(shard.read_bytes())
    content[8:40] = b"\xff" * 32
    shard.write_bytes(bytes(content))
    assert shard.name in refusal(path)


def test_a_missing_shard_is_named(good: Checkpoint, tmp_path: Path) -> None:
    path = good.write(tmp_path / "model")
    shard = sorted(path.glob("*.safetensors"))[2]
    shard.unlink()
    assert shard.name in refusal(path)


def test_an_index_that_points_outside_the_directory_is_refused(good: Checkpoint, tmp_path: Path) -> None:
    path = good.write(tmp_path / "model")
    shard = sorted(path.glob("*.safetensors"))[0]
    outside = tmp_path / "elsewhere.safetensors"
    shutil.move(shard, outside)
    index = json.loads((path / INDEX_NAME).read_text())
    index["weight_map"] = {k: f"../{outside.name}" if v == shard.name else v for k, v in index["weight_map"].items()}
    (path / INDEX_NAME).write_text(json.dumps(index))
    message = refusal(path)
    assert INDEX_NAME in message
    assert "outside" in message


def test_a_tensor_that_the_index_places_in_the_wrong_shard_is_reported(good: Checkpoint, tmp_path: Path) -> None:
    path = good.write(tmp_path / "model")
    index = json.loads((path / INDEX_NAME).read_text())
    index["weight_map"]["embed.weight"] = index["weight_map"]["norm.weight"]
    (path / INDEX_NAME).write_text(json.dumps(index))
    assert "embed.weight" in refusal(path)


@pytest.mark.parametrize("file", ["config.json", INDEX_NAME])
@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00\x01", '{"weight_map": 3}'])
def test_bad_json_is_named(good: Checkpoint, tmp_path: Path, file: str, content: str) -> None:
    path = good.write(tmp_path / "model")
    (path / file).write_text(content)
    message = refusal(path)
    assert file in message or content == '{"weight_map": 3}'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attn_logit_softcapping", 30),
        ("final_logit_softcapping", 30.0),
        ("scoring_func", "softmax"),
        ("topk_method", "group_limited_greedy"),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("tie_word_embeddings", True),
        ("norm_topk_prob", False),
        ("num_key_value_heads", 2),
        ("n_shared_experts", 2),
        ("model_type", "deepseek_v3"),
        ("rope_scaling", {"type": "linear", "factor": 4}),
        ("compress_ratios", [0, 0, 4, 64, 4]),
        ("expert_dtype", "nvfp4"),
        ("n_group", 8),
    ],
)
def test_a_field_that_asks_for_other_maths_is_named(
    good: Checkpoint, tmp_path: Path, field: str, value: object
) -> None:
    assert field in refusal(with_config(good, tmp_path / "model", **{field: value}))


@pytest.mark.parametrize("field", ["hidden_size", "compress_ratios", "q_lora_rank", "swiglu_limit", "hc_mult"])
def test_a_field_that_is_missing_is_named(good: Checkpoint, tmp_path: Path, field: str) -> None:
    assert field in refusal(with_config(good, tmp_path / "model", **{field: ...}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", "wide"), ("num_attention_heads", -3), ("compress_ratios", 4), ("num_experts_per_tok", 100)],
)
def test_a_field_that_makes_no_sense_is_named(good: Checkpoint, tmp_path: Path, field: str, value: object) -> None:
    assert field in refusal(with_config(good, tmp_path / "model", **{field: value}))


def test_a_field_without_influence_on_the_maths_is_accepted(good: Checkpoint, tmp_path: Path) -> None:
    path = with_config(
        good, tmp_path / "model", transformers_version="4.57.1", pad_token_id=None, _name_or_path="x", dtype="bfloat16"
    )
    load(path, draft=True)


def test_config_sizes_that_the_tensors_do_not_have_name_a_tensor(good: Checkpoint, tmp_path: Path) -> None:
    assert "attn" in refusal(with_config(good, tmp_path / "model", q_lora_rank=96))


def test_a_directory_that_does_not_exist_is_no_model(tmp_path: Path) -> None:
    from dspark_models import NotAModelError

    with pytest.raises(NotAModelError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_directory_without_a_config_is_no_model(tmp_path: Path) -> None:
    from dspark_models import NotAModelError

    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotAModelError) as caught:
        load(tmp_path)
    assert "config.json" in f"{caught.value.message} {caught.value.hint}"


def test_a_file_in_place_of_a_directory_is_no_model(tmp_path: Path) -> None:
    from dspark_models import NotAModelError

    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(NotAModelError):
        load(file)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.pth"])
def test_a_directory_with_pickles_alone_is_refused_unread(good: Checkpoint, tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(good.config))
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    message = refusal(tmp_path)
    assert "safetensors" in message
    assert not (tmp_path / "pwned").exists()


def test_a_single_file_without_an_index_loads(good: Checkpoint, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(json.dumps(good.config))
    save_file({name: tensor.contiguous() for name, tensor in good.stored.items()}, tmp_path / "model.safetensors")
    load(tmp_path, draft=True)


def test_a_draft_of_another_target_is_refused(good: Checkpoint, tmp_path: Path) -> None:
    from dspark_models import CheckpointError, load_drafter, load_target

    other = random_checkpoint({**FLASH, "hidden_size": 96}, draft="dspark").write(tmp_path / "other")
    target = load_target(good.write(tmp_path / "model"), dtype="float32", device="cpu", context_length=64)
    with pytest.raises(CheckpointError, match="hidden_size"):
        load_drafter(other, target)


def test_the_draft_may_come_from_a_directory_of_its_own(good: Checkpoint, tmp_path: Path) -> None:
    from dspark_models import load_drafter, load_target

    plain = {name: tensor for name, tensor in good.stored.items() if not name.startswith("mtp.")}
    draft = {name: tensor for name, tensor in good.stored.items() if name.startswith("mtp.")}
    alone = Checkpoint({**good.config, "compress_ratios": good.config["compress_ratios"][:5]}, plain)
    target = load_target(alone.write(tmp_path / "target"), dtype="float32", device="cpu", context_length=64)
    assert load_drafter(tmp_path / "target", target) is None
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "config.json").write_text(json.dumps(good.config))
    write_shards(tmp_path / "draft", draft)
    drafter = load_drafter(tmp_path / "draft", target)
    assert drafter is not None
    assert drafter.block_size == 5
