"""Opening a checkpoint as target and draft, once it is known that what they allocate fits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dspark_local.backend import LoadProgress
from dspark_local.errors import CheckpointError, UsageError
from dspark_local.hardware.memory import read_memory
from dspark_local.model_errors import models_errors
from dspark_local.plan.engine_plan import EnginePlan, plan_engine
from dspark_models import Drafter, load_drafter, load_target
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.target import DeepseekV4Target
from dspark_models.loading import pick_context, pick_device
from dspark_models.numerics import Numerics

_LOG = logging.getLogger(__name__)
_TOLERANCE = 0.02
_CACHES = ("window", "compressed", "index", "compressor_state", "draft_context")


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A target with its draft, None without one, and the plan that they were opened by."""

    target: DeepseekV4Target
    drafter: Drafter | None
    plan: EnginePlan


def open_model(
    model_dir: Path,
    draft_dir: Path | None = None,
    *,
    dtype: str = "auto",
    device: str = "auto",
    context_length: int | None = None,
    max_sequences: int = 2,
    progress: Callable[[LoadProgress], None] | None = None,
) -> OpenedModel:
    """Open a checkpoint directory in the official format, and the draft in it or in draft_dir.

    Nothing is allocated before the plan fits. Raises ModelNotFoundError, CheckpointError, OutOfMemoryError, and
    UsageError for a dtype that is not known.
    """

    def tell(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(LoadProgress(stage, done, total))

    with models_errors():
        checkpoint = Checkpoint.open(model_dir)
        draft = Checkpoint.open(draft_dir) if draft_dir is not None else checkpoint
        place = pick_device(device)
        try:
            numerics = Numerics.for_dtype(dtype, place)
        except ValueError as error:
            raise UsageError(f"{error}.", hint="dtype is float32, bfloat16, float16 or auto.") from error
        config = DeepseekV4Config.parse(checkpoint.config)
        context = pick_context(config, context_length)
        plan = plan_engine(
            checkpoint,
            available_bytes=_available_bytes(place),
            context=context,
            sequences=max_sequences,
            device=str(place),
            numerics=numerics,
            draft=draft,
        )
        target = load_target(
            checkpoint,
            device=device,
            numerics=numerics,
            context_length=context,
            max_sequences=max_sequences,
            progress=tell,
        )
        drafter = load_drafter(draft, target, max_sequences=max_sequences)
    if drafter is None and draft_dir is not None:
        raise CheckpointError(f"{draft_dir} holds no known draft.", hint="Leave --draft out to go without one.")
    _compare(plan, target.bytes_held() | (drafter.bytes_held() if drafter is not None else {}))
    return OpenedModel(target, drafter, plan)


def _available_bytes(device: torch.device) -> int:
    """What can be allocated on the device now."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else read_memory().available_bytes


def _compare(plan: EnginePlan, held: dict[str, int]) -> None:
    """A plan that counts wrong refuses what would run, or lets start what will not: that must not stay unseen."""
    for part in _CACHES:
        planned, real = plan.held.get(part, 0), held.get(part, 0)
        if abs(planned - real) > _TOLERANCE * real:
            _LOG.warning("The plan counted %s bytes for %s, %s were allocated.", f"{planned:,}", part, f"{real:,}")
