"""From a checkpoint directory to a Target and its Drafter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.inventory import check_tensors, draft_tensors, is_draft, mtp_tensors, target_tensors
from dspark_models.deepseek_v4.taps import mean_taps
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.dspark.v4_drafter import V4Drafter
from dspark_models.errors import CheckpointError
from dspark_models.experts import MappedExpertStore
from dspark_models.mtp.mtp_drafter import MtpDrafter, mtp_taps
from dspark_models.numerics import Numerics

DEFAULT_CONTEXT = 32_768
"""Tokens of context when nobody asks for another number and the model allows as many."""

MTP_BLOCK_SIZE = 3
"""Drafts a round of a plain MTP module, which was trained for one; each costs a pass of its block and of the head."""

LOAD_OVERHEAD_BYTES = 512 * 2**20
"""Peak memory of loading and of one short pass stays under the files' size plus this: the interpreter, torch, caches
of a short context, and the bounded cache of expanded matrices. Weights are mapped, never copied."""

VRAM_RESERVE_BYTES = 2 * 2**30
"""Graphics memory that stays free when all experts come to lie there: caches, activations, torch itself."""

Progress = Callable[[str, int, int], None]
"""(stage, bytes done, bytes in all)"""


def pick_device(name: str) -> torch.device:
    """The device that auto, cpu, cuda or cuda:N names. CheckpointError for one that is not known or not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"Device {name!r} is not known.", hint="Use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("No CUDA device is available to this torch build.", hint="Use --device cpu.")
    return device


def _check_numerics(config: DeepseekV4Config, numerics: Numerics) -> None:
    """The release's row formats need group sizes that every released model has."""
    nope = config.head_dim - config.qk_rope_head_dim
    if numerics.kv_fp8 and nope % 64:
        raise CheckpointError(
            f"FP8 latent rows need head_dim - qk_rope_head_dim to be a multiple of 64, it is {nope}.",
            hint="Use --dtype float32.",
        )
    dim = config.index_head_dim
    if numerics.index_fp4 and (dim % 32 or dim & (dim - 1)):
        raise CheckpointError(
            f"FP4 index keys need index_head_dim to be a power of two from 32 up, it is {dim}.",
            hint="Use --dtype float32.",
        )


def pick_context(config: DeepseekV4Config, asked: int | None) -> int:
    """Tokens of context: what was asked for, else what the model allows, at most DEFAULT_CONTEXT.

    CheckpointError for more than the model allows.
    """
    if asked is None:
        return min(config.max_position_embeddings, DEFAULT_CONTEXT)
    if not 1 <= asked <= config.max_position_embeddings:
        raise CheckpointError(
            f"A context of {asked:,} tokens was asked for, the model allows 1 to {config.max_position_embeddings:,}.",
            hint="Choose another --context.",
        )
    return asked


def load_target(
    source: Path | Checkpoint,
    *,
    dtype: str = "auto",
    device: str = "auto",
    context_length: int | None = None,
    max_sequences: int = 2,
    numerics: Numerics | None = None,
    progress: Progress | None = None,
) -> DeepseekV4Target:
    """Open the target of a checkpoint, given as its directory or opened already.

    dtype is float32 (pure formulas), bfloat16, float16 or auto (the release's own roundings); `numerics` overrides
    it switch by switch. context_length is as for pick_context. Raises
    NotAModelError, CheckpointError, and ValueError for an unknown dtype.
    """
    checkpoint = source if isinstance(source, Checkpoint) else Checkpoint.open(source)
    config = DeepseekV4Config.parse(checkpoint.config)
    own = {name: info for name, info in checkpoint.tensors.items() if not is_draft(name)}
    check_tensors(target_tensors(config), own)
    place = pick_device(device)
    arithmetic = numerics if numerics is not None else Numerics.for_dtype(dtype, place)
    _check_numerics(config, arithmetic)
    context = pick_context(config, context_length)
    total = sum(info.nbytes for info in own.values())
    if progress is not None:
        progress("weights", 0, total)
    target = DeepseekV4Target(
        config,
        checkpoint,
        arithmetic,
        place,
        MappedExpertStore(checkpoint, place, _fits_on_device(place, total)),
        context_length=context,
        max_sequences=max_sequences,
    )
    if progress is not None:
        progress("weights", total, total)
    return target


def _fits_on_device(device: torch.device, nbytes: int) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes + VRAM_RESERVE_BYTES <= free


def load_drafter(
    source: Path | Checkpoint, target: DeepseekV4Target, *, max_sequences: int = 2
) -> V4Drafter | MtpDrafter | None:
    """Open the draft in a checkpoint, the target's own or a separate one; None if it holds none.

    The tensors tell the kind: DSpark, DFlash (DSpark without one head or both), or the preview's plain MTP module. The
    target taps what the last loaded draft reads. Raises NotAModelError and CheckpointError, also when the draft belongs
    to a target of other sizes.
    """
    checkpoint = source if isinstance(source, Checkpoint) else Checkpoint.open(source)
    own = {name: info for name, info in checkpoint.tensors.items() if is_draft(name)}
    # Counting stages is safest: num_nextn_predict_layers says 1 while three are in the file.
    stages = len({name.split(".")[1] for name in own})
    config = DeepseekV4Config.parse(checkpoint.config)
    is_mtp = "mtp.0.e_proj.weight" in own
    if not stages or (config.dspark is None and not is_mtp):
        return None
    _check_same_sizes(target.config, config)
    check_tensors(mtp_tensors(config) if is_mtp else draft_tensors(config, stages, own), own)
    fits = _fits_on_device(target.torch_device, sum(info.nbytes for info in own.values()))
    store = MappedExpertStore(checkpoint, target.torch_device, fits)
    if is_mtp:
        target.taps = mtp_taps(config.num_hidden_layers)
        return MtpDrafter(checkpoint, target, store, block_size=MTP_BLOCK_SIZE, max_sequences=max_sequences)
    assert config.dspark is not None
    target.taps = mean_taps(config.dspark.target_layer_ids)
    return V4Drafter(checkpoint, target, config.dspark, stages, store, max_sequences=max_sequences)


def _check_same_sizes(ours: DeepseekV4Config, theirs: DeepseekV4Config) -> None:
    for name in ("vocab_size", "hidden_size", "hc_mult", "sliding_window", "num_hidden_layers"):
        if getattr(ours, name) != getattr(theirs, name):
            raise CheckpointError(
                f"The draft's {name} is {getattr(theirs, name)}, the target's is {getattr(ours, name)}.",
                hint="Give the draft that was trained for this target.",
            )
