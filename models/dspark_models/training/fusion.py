"""Optional fusion of element-wise steps by ``torch.compile``.

Training spends much of its time in small element-wise work on the four
streams; fused it takes a sixth. A C++ compiler is needed for that on a CPU, so
fusion is off until :func:`enable_fusion` is called and everything also runs
without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch
import torch._dynamo

P = ParamSpec("P")
R = TypeVar("R")

_enabled = False


def enable_fusion() -> None:
    """Compile every :class:`Fusible` function at its next call."""
    global _enabled
    _enabled = True
    # One function serves several ranks and sizes; past the limit it would run eagerly.
    torch._dynamo.config.recompile_limit = 64


class Fusible(Generic[P, R]):
    """A tensor function that is compiled on first use once fusion is enabled."""

    def __init__(self, eager: Callable[P, R]) -> None:
        self.eager = eager
        self.compiled: Callable[P, R] | None = None
        self.__doc__ = eager.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the compiled form if there is one."""
        if not (_enabled and torch.is_grad_enabled()):
            # Evaluation would only compile everything a second time.
            return self.eager(*args, **kwargs)
        if self.compiled is None:
            self.compiled = torch.compile(self.eager, dynamic=True)
        return self.compiled(*args, **kwargs)


def fusible(eager: Callable[P, R]) -> Fusible[P, R]:
    """Decorator form of :class:`Fusible`."""
    return Fusible(eager)
