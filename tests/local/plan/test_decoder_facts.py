"""Dense decoders: their parameters as transformers counts them, and their speeds as bandwidth allows."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from dspark_local.errors import CheckpointError
from dspark_local.plan.decoder_facts import decoder_facts, with_separate_draft
from dspark_local.plan.engine_traits import TUNED
from dspark_local.plan.plan import make_plan
from tests.local.plan.machines import machine

CARD = machine(vram=24, hbm=1008, ram=64, ram_rate=72, link=26)


def config(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((files("dspark_local.catalog") / "configs" / f"{name}.json").read_text())
    return raw


@pytest.mark.parametrize("name", ["qwen3-4b", "qwen3-8b", "qwen3-14b"])
def test_parameters_are_those_that_transformers_allocates(name: str) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    raw = config(name)
    with torch.device("meta"):
        model = Qwen3ForCausalLM(Qwen3Config(**raw))
    counted = decoder_facts(name, raw).total_bytes
    assert counted == 2 * sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "payload"), [("qwen3-4b", 8_044_936_192), ("qwen3-8b", 16_381_470_720)])
def test_parameters_are_those_of_the_published_files(name: str, payload: int) -> None:
    assert decoder_facts(name, config(name)).total_bytes == payload


def test_cache_rows_are_two_of_every_kv_head_and_layer() -> None:
    facts = decoder_facts("qwen3-8b", config("qwen3-8b"))
    assert facts.cache_parts(1000) == {"kv": 1000 * 36 * 2 * 8 * 128 * 2}


def test_sliding_layers_keep_their_window_only() -> None:
    raw = config("qwen3-8b") | {
        "layer_types": ["sliding_attention"] * 30 + ["full_attention"] * 6,
        "sliding_window": 512,
    }
    row = 2 * 8 * 128 * 2
    assert decoder_facts("sliding", raw).cache_parts(4096) == {"kv": row * (6 * 4096 + 30 * 512)}


def test_an_8b_model_in_graphics_memory_runs_at_the_cards_bandwidth() -> None:
    facts = with_separate_draft(decoder_facts("qwen3-8b", config("qwen3-8b")), 4_742_163_458, 151_936)
    plan = make_plan(facts, CARD, 4096, traits=TUNED)
    assert plan.verdict == "fits"
    read = facts.dense_bytes + facts.head_bytes
    assert 0.6 < plan.estimate.plain * read / 1008e9 < 0.75
    # The DSpark paper reports 4.9 to 6.2 tokens a round of this pair on code and maths, 3.2 to 3.7 on chat.
    for workload, tokens in (("chat", 3.7), ("code", 5.5), ("math", 6.2)):
        speed = next(speed for speed in plan.estimate.speeds if speed.workload == workload)
        assert 2 < speed.speculated / speed.plain < tokens


def test_4_bit_weights_bring_a_large_model_onto_a_small_card() -> None:
    facts = decoder_facts("qwen3-14b", config("qwen3-14b"))
    small = machine(vram=12, hbm=504, ram=32, ram_rate=72, link=26)
    assert make_plan(facts, small, 8192).verdict == "does_not_fit"
    assert make_plan(facts.with_4bit_dense(), small, 8192).verdict != "does_not_fit"


def test_a_config_without_sizes_or_with_unknown_experts_is_refused() -> None:
    with pytest.raises(CheckpointError, match="intermediate_size"):
        decoder_facts("odd", {k: v for k, v in config("qwen3-8b").items() if k != "intermediate_size"})
    with pytest.raises(CheckpointError, match="routed experts"):
        decoder_facts("moe", config("qwen3-8b") | {"num_experts": 128})
