"""DeepSeek-V4 and its DSpark draft: checkpoints, caches, forward passes. Knows nothing of requests or people."""

from dspark_models.errors import CheckpointError, NotAModelError
from dspark_models.loading import LOAD_OVERHEAD_BYTES, load_drafter, load_target
from dspark_models.numerics import Numerics
from dspark_models.protocols import DraftBlock, Drafter, DraftRequest, Run, RunOutput, Target

__all__ = [
    "LOAD_OVERHEAD_BYTES",
    "CheckpointError",
    "DraftBlock",
    "DraftRequest",
    "Drafter",
    "NotAModelError",
    "Numerics",
    "Run",
    "RunOutput",
    "Target",
    "load_drafter",
    "load_target",
]
