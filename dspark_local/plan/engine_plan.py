"""What this release's own engine allocates for a checkpoint, and a refusal before it does where that cannot work.

On a CPU weights are mapped from the files: the page cache holds what fits and gives way to anything else, so only
caches and expanded matrices have to fit. On a card the dense weights are copied, and the routed experts too if the
whole target fits; else they cross the link when they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dspark_local.errors import OutOfMemoryError
from dspark_local.sizes import format_gib, format_tokens

if TYPE_CHECKING:
    from dspark_models.checkpoint import Checkpoint
    from dspark_models.deepseek_v4.config import DeepseekV4Config
    from dspark_models.numerics import Numerics

WORKSPACE_BYTES = 256 * 2**20
"""Activations of one prefill chunk and what torch keeps for itself; the weights and caches apart."""
SHORTEST_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Bytes that the engine takes, by the part names of bytes_held().

    held       allocated for sure: caches, and dense weights where they are copied to a card
    mapped     files that are read through the page cache
    resident   routed experts that come to stay on the card as they are used, 0 where they do not
    """

    device: str
    held: dict[str, int]
    mapped: int
    resident: int
    available: int

    @property
    def needed(self) -> int:
        """Bytes that have to be free on the device for a load to succeed."""
        return sum(self.held.values())


def plan_engine(
    checkpoint: Checkpoint,
    *,
    available_bytes: int,
    context: int,
    sequences: int,
    device: str,
    numerics: Numerics,
    draft: Checkpoint | None = None,
) -> EnginePlan:
    """Count before loading. device is cpu or cuda[:N], on which available_bytes can be allocated now.

    `draft` is the checkpoint with the draft, which may be the same, None for none.

    Raises OutOfMemoryError, with a context that does work if one does, when what has to be allocated does not fit.
    """
    from dspark_models.deepseek_v4.config import DeepseekV4Config

    config = DeepseekV4Config.parse(checkpoint.config)

    def counted(tokens: int) -> EnginePlan:
        return _count(checkpoint, config, available_bytes, tokens, sequences, device, numerics, draft)

    plan = counted(context)
    if plan.needed > plan.available:
        raise _refusal(plan, context, _longest_that_fits(counted, context))
    return plan


def _count(
    checkpoint: Checkpoint,
    config: DeepseekV4Config,
    available_bytes: int,
    context: int,
    sequences: int,
    device: str,
    numerics: Numerics,
    draft: Checkpoint | None,
) -> EnginePlan:
    from dspark_models.deepseek_v4.footprint import cache_bytes, checkpoint_footprint, draft_cache_bytes, draft_kind
    from dspark_models.loading import VRAM_RESERVE_BYTES

    own, drafts = checkpoint_footprint(checkpoint, numerics), None
    held = cache_bytes(config, numerics, context=context, sequences=sequences)
    held |= {"expanded": own.expanded, "workspace": WORKSPACE_BYTES}
    total = own.target
    if draft is not None:
        drafts = own if draft is checkpoint else checkpoint_footprint(draft, numerics)
        kind, stages = draft_kind(draft)
        held |= draft_cache_bytes(config, numerics, kind, sequences=sequences, stages=stages)
        total += drafts.draft
    if not device.startswith("cuda"):
        return EnginePlan(device, held, total, 0, available_bytes)
    dense = own.target - sum(layer.routed for layer in own.layers)
    held["weights"] = dense
    if drafts is not None:
        held["draft_weights"] = sum(stage.dense for stage in drafts.stages)
    resident = own.target - dense if own.target + VRAM_RESERVE_BYTES <= available_bytes else 0
    return EnginePlan(device, held, total, resident, available_bytes)


def _longest_that_fits(counted: Callable[[int], EnginePlan], context: int) -> int | None:
    """The longest power of two below `context` whose plan fits."""
    shorter = 1 << (context - 1).bit_length() - 1
    while shorter >= SHORTEST_CONTEXT:
        plan = counted(shorter)
        if plan.needed <= plan.available:
            return shorter
        shorter //= 2
    return None


def _refusal(plan: EnginePlan, context: int, longest: int | None) -> OutOfMemoryError:
    is_card = plan.device.startswith("cuda")
    memory = f"is free on {plan.device}" if is_card else "of RAM is available"
    ways = [f"run with --context {longest}"] if longest else []
    ways += ["use --device cpu"] if is_card else []
    ways.append("close what else uses the card" if is_card else "close what else uses memory")
    hint = ", or ".join(ways)
    return OutOfMemoryError(
        f"Not enough memory: a context of {format_tokens(context)} needs {format_gib(plan.needed)}, "
        f"{format_gib(plan.available)} {memory}.",
        hint=f"{hint[0].upper()}{hint[1:]}.",
        fitting_context=longest,
    )
