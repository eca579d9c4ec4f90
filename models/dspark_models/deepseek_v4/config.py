"""DeepSeek-V4's config.json as a frozen record; a field that would change the maths unseen is refused by name.

Flash and Pro differ by these numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspark_kernels.rope import YarnScaling
from dspark_models.errors import CheckpointError

CSA_LABEL = 4
HCA_LABEL = 128

# Fields whose other values would need other formulas than the ones in this package.
_REQUIRED_VALUES: dict[str, tuple[Any, ...]] = {
    "model_type": ("deepseek_v4",),
    "num_key_value_heads": (1,),
    "n_shared_experts": (1,),
    "scoring_func": ("sqrtsoftplus",),
    "topk_method": ("noaux_tc",),
    "norm_topk_prob": (True,),
    "hidden_act": ("silu",),
    "tie_word_embeddings": (False,),
    "attention_bias": (False,),
}
_REQUIRED_PRESENT = ("model_type", "scoring_func")
# Fields that describe the file, its training or its host, not the forward pass.
_IRRELEVANT = frozenset(
    (
        "architectures",
        "torch_dtype",
        "dtype",
        "use_cache",
        "transformers_version",
        "initializer_range",
        "attention_dropout",
        "pad_token_id",
        "num_nextn_predict_layers",
        "n_mtp_layers",
        "auto_map",
        "_name_or_path",
    )
)
_ROPE_FIELDS = frozenset(["type", "rope_type", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"])
_QUANTIZATION: dict[str, Any] = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "scale_fmt": "ue8m0",
    "weight_block_size": [128, 128],
}


@dataclass(frozen=True, slots=True)
class DSparkSettings:
    """The draft's fields: drafts a round, Markov rank, noise token, tapped target layers (0-based, their outputs).

    A Markov rank of 0 stands for a draft without that head.
    """

    block_size: int
    markov_rank: int
    noise_token_id: int
    target_layer_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeepseekV4Config:
    """Sizes and constants of one V4 model; names follow config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    qk_rope_head_dim: int
    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    moe_intermediate_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    num_hash_layers: int
    routed_scaling_factor: float
    swiglu_limit: float
    sliding_window: int
    compress_ratios: tuple[int, ...]
    compress_rope_theta: float
    rope_theta: float
    yarn: YarnScaling | None
    max_position_embeddings: int
    index_n_heads: int
    index_head_dim: int
    index_topk: int
    hc_mult: int
    hc_sinkhorn_iters: int
    hc_eps: float
    rms_norm_eps: float
    bos_token_id: int
    eos_token_id: int
    quantized: bool
    experts_are_fp4: bool
    csa_ratio: int = CSA_LABEL
    hca_ratio: int = HCA_LABEL
    dspark: DSparkSettings | None = None

    def ratio(self, layer: int) -> int:
        """Tokens per compressed entry of a layer; 0 for a layer that sees its window only."""
        label = self.compress_ratios[layer]
        return {0: 0, CSA_LABEL: self.csa_ratio, HCA_LABEL: self.hca_ratio}[label]

    def is_csa(self, layer: int) -> bool:
        """True for layers with overlapping entries and an indexer."""
        return self.compress_ratios[layer] == CSA_LABEL

    def is_hash_routed(self, layer: int) -> bool:
        """True for the first layers, whose experts follow from the token id."""
        return layer < self.num_hash_layers

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> DeepseekV4Config:
        """Read config.json's object; CheckpointError names the first field that is missing, wrong or unknown."""
        return _Parser(raw).parse()


class _Parser:
    """Takes fields one by one, so that what is left over can be refused."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.seen: set[str] = set(_IRRELEVANT)

    def fail(self, text: str) -> CheckpointError:
        return CheckpointError(f"config.json: {text}", hint="This version runs DeepSeek-V4 (Flash, Pro and DSpark).")

    def take(self, name: str, kind: type[int] | type[float], default: Any = None) -> Any:
        self.seen.add(name)
        value = self.raw.get(name, default)
        if value is None:
            raise self.fail(f"field {name} is missing.")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (kind is int and value != int(value)) or value < 0:
            raise self.fail(f"field {name} is {value!r}, a number from 0 up was expected.")
        return kind(value)

    def positive(self, name: str, default: Any = None) -> int:
        value: int = self.take(name, int, default)
        if value < 1:
            raise self.fail(f"field {name} is {value}, it must be at least 1.")
        return value

    def parse(self) -> DeepseekV4Config:
        self.check_required()
        layers = self.positive("num_hidden_layers")
        config = DeepseekV4Config(
            vocab_size=self.positive("vocab_size"),
            hidden_size=self.positive("hidden_size"),
            num_hidden_layers=layers,
            num_attention_heads=self.positive("num_attention_heads"),
            head_dim=self.positive("head_dim"),
            qk_rope_head_dim=self.positive("qk_rope_head_dim"),
            q_lora_rank=self.positive("q_lora_rank"),
            o_groups=self.positive("o_groups"),
            o_lora_rank=self.positive("o_lora_rank"),
            moe_intermediate_size=self.positive("moe_intermediate_size"),
            n_routed_experts=self.positive("n_routed_experts"),
            num_experts_per_tok=self.positive("num_experts_per_tok"),
            num_hash_layers=self.take("num_hash_layers", int, 0),
            routed_scaling_factor=self.take("routed_scaling_factor", float),
            swiglu_limit=self.take("swiglu_limit", float),
            sliding_window=self.positive("sliding_window"),
            compress_ratios=self.compress_ratios(layers),
            compress_rope_theta=self.take("compress_rope_theta", float),
            rope_theta=self.take("rope_theta", float),
            yarn=self.yarn(),
            max_position_embeddings=self.positive("max_position_embeddings"),
            index_n_heads=self.positive("index_n_heads"),
            index_head_dim=self.positive("index_head_dim"),
            index_topk=self.positive("index_topk"),
            hc_mult=self.positive("hc_mult"),
            hc_sinkhorn_iters=self.positive("hc_sinkhorn_iters"),
            hc_eps=self.take("hc_eps", float),
            rms_norm_eps=self.take("rms_norm_eps", float, 1e-6),
            bos_token_id=self.take("bos_token_id", int, 0),
            eos_token_id=self.take("eos_token_id", int, 1),
            quantized=self.quantized(),
            experts_are_fp4=self.experts_are_fp4(),
            csa_ratio=self.positive("compress_rate_csa", CSA_LABEL),
            hca_ratio=self.positive("compress_rate_hca", HCA_LABEL),
            dspark=self.dspark(layers),
        )
        self.refuse_unknown()
        self.check_sizes(config)
        return config

    def check_required(self) -> None:
        for name in _REQUIRED_PRESENT:
            if name not in self.raw:
                raise self.fail(f"field {name} is missing.")
        for name, allowed in _REQUIRED_VALUES.items():
            self.seen.add(name)
            if name in self.raw and self.raw[name] not in allowed:
                raise self.fail(f"field {name} is {self.raw[name]!r}, only {allowed[0]!r} is supported.")

    def compress_ratios(self, layers: int) -> tuple[int, ...]:
        self.seen.add("compress_ratios")
        ratios = self.raw.get("compress_ratios")
        if not isinstance(ratios, list) or len(ratios) < layers:
            raise self.fail(f"field compress_ratios needs at least {layers} entries, got {ratios!r}.")
        for ratio in ratios[:layers]:
            if ratio not in (0, CSA_LABEL, HCA_LABEL):
                raise self.fail(
                    f"field compress_ratios holds {ratio!r}, only 0, {CSA_LABEL} and {HCA_LABEL} are known."
                )
        return tuple(ratios[:layers])

    def yarn(self) -> YarnScaling | None:
        self.seen.add("rope_scaling")
        scaling = self.raw.get("rope_scaling")
        if scaling is None:
            return None
        if not isinstance(scaling, dict) or scaling.get("type", scaling.get("rope_type")) != "yarn":
            raise self.fail(f"field rope_scaling is {scaling!r}, only type yarn is supported.")
        for name in scaling:
            if name not in _ROPE_FIELDS:
                raise self.fail(f"field rope_scaling.{name} is unknown and would change the maths.")
        try:
            return YarnScaling(
                float(scaling["factor"]),
                int(scaling["original_max_position_embeddings"]),
                float(scaling.get("beta_fast", 32)),
                float(scaling.get("beta_slow", 1)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.fail(f"field rope_scaling is incomplete: {error}.") from error

    def quantized(self) -> bool:
        self.seen.add("quantization_config")
        quantization = self.raw.get("quantization_config")
        if quantization is None:
            return False
        if not isinstance(quantization, dict):
            raise self.fail(f"field quantization_config is {quantization!r}, an object was expected.")
        for name, value in quantization.items():
            if name not in _QUANTIZATION or value != _QUANTIZATION[name]:
                raise self.fail(f"field quantization_config.{name} is {value!r}, which is not supported.")
        return True

    def experts_are_fp4(self) -> bool:
        self.seen.add("expert_dtype")
        dtype = self.raw.get("expert_dtype")
        if dtype not in (None, "fp4", "fp8"):
            raise self.fail(f"field expert_dtype is {dtype!r}, only 'fp4' and 'fp8' are supported.")
        return dtype == "fp4"

    def dspark(self, layers: int) -> DSparkSettings | None:
        names = ("dspark_block_size", "dspark_markov_rank", "dspark_noise_token_id", "dspark_target_layer_ids")
        self.seen.update(names)
        if not any(name in self.raw for name in names):
            return None
        ids = self.raw.get("dspark_target_layer_ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(i, int) and 0 <= i < layers for i in ids):
            raise self.fail(f"field dspark_target_layer_ids is {ids!r}, layers from 0 to {layers - 1} were expected.")
        return DSparkSettings(
            self.positive("dspark_block_size"),
            self.take("dspark_markov_rank", int, 0),
            self.take("dspark_noise_token_id", int),
            tuple(ids),
        )

    def refuse_unknown(self) -> None:
        for name, value in self.raw.items():
            # A switch that is off changes nothing, whatever it would do.
            if name not in self.seen and value is not None and value is not False:
                raise self.fail(f"field {name} ({value!r}) is unknown and may change the maths.")

    def check_sizes(self, config: DeepseekV4Config) -> None:
        if config.num_attention_heads % config.o_groups:
            raise self.fail(f"{config.num_attention_heads} heads do not split into {config.o_groups} o_groups.")
        if config.qk_rope_head_dim > config.head_dim or config.qk_rope_head_dim % 2:
            raise self.fail(f"qk_rope_head_dim {config.qk_rope_head_dim} does not fit head_dim {config.head_dim}.")
        if config.num_experts_per_tok > config.n_routed_experts:
            raise self.fail(f"num_experts_per_tok is {config.num_experts_per_tok}, more than n_routed_experts has.")
        if config.dspark is not None and config.dspark.noise_token_id >= config.vocab_size:
            raise self.fail(f"dspark_noise_token_id {config.dspark.noise_token_id} is not in the vocabulary.")
