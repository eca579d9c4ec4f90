"""Which implementation an operation uses on a device, and the reason in words that people can read.

Every op has a plain torch implementation, which takes any device, dtype and shape. Faster candidates are asked first,
in the order of their registration; each either takes the call or says why not.

Importing this loads no torch, so that a report about the machine needs none.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PLAIN = "plain torch"

# op -> the module of dspark_kernels that holds its plain torch implementation
OPS = {
    "rms_norm": "rms_norm",
    "rope": "rope",
    "hadamard": "hadamard",
    "fp4_dequantize": "fp4",
    "fp8_dequantize": "fp8",
    "router": "router",
    "expert_ffn": "expert_ffn",
    "hyper_connection": "hyper_connection",
    "compressor": "compressor",
    "index_scores": "index_scores",
    "sparse_attention": "sparse_attention",
    "kv_rows": "kv_rows",
}


@dataclass(frozen=True, slots=True)
class Call:
    """What a candidate decides on; dtypes and shapes of the operands in order, empty when they are not known yet."""

    device: str
    dtypes: tuple[torch.dtype, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def device_type(self) -> str:
        """`cuda` of `cuda:1`."""
        return self.device.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One implementation of an op.

    merit        why it is preferred where it serves
    objection    given a Call: None when it serves, else the reason why not
    """

    implementation: str
    merit: str
    objection: Callable[[Call], str | None]


@dataclass(frozen=True, slots=True)
class Choice:
    """The implementation an op will use and why."""

    implementation: str
    reason: str


class Dispatcher:
    """The candidates of every op, best first, plain torch always last."""

    def __init__(self, ops: Sequence[str]) -> None:
        self._candidates: dict[str, list[Candidate]] = {op: [] for op in ops}

    def register(self, op: str, candidate: Candidate) -> None:
        """Ask `candidate` after those already registered for the op. Raises ValueError for an unknown op."""
        self._of(op).append(candidate)

    def pick(
        self,
        op: str,
        device: torch.device | str,
        dtypes: Sequence[torch.dtype] = (),
        shapes: Sequence[Sequence[int]] = (),
    ) -> Choice:
        """The first candidate that takes the call; its reason names what the earlier ones objected to.

        Raises ValueError for an unknown op.
        """
        call = Call(str(device), tuple(dtypes), tuple(tuple(shape) for shape in shapes))
        objections: list[str] = []
        for candidate in self._of(op):
            objection = candidate.objection(call)
            if objection is None:
                return Choice(candidate.implementation, "; ".join([candidate.merit, *objections]))
            objections.append(f"{candidate.implementation}: {objection}")
        return Choice(PLAIN, "; ".join(objections) if objections else _only_plain(call.device_type))

    def _of(self, op: str) -> list[Candidate]:
        if op not in self._candidates:
            raise ValueError(f"unknown op {op!r}, expected one of {', '.join(self._candidates)}")
        return self._candidates[op]


_DEFAULT = Dispatcher(tuple(OPS))
pick = _DEFAULT.pick
register = _DEFAULT.register


def _only_plain(device_type: str) -> str:
    reason = "the only implementation in this version"
    if device_type == "cpu":
        return reason
    if importlib.util.find_spec("triton") is None:
        return f"{reason}: it has no Triton kernels yet, and triton is not installed"
    return f"{reason}: it has no Triton kernels yet, though triton {_version('triton')} is installed"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # triton-windows installs the same module under its own name
        return "(of another package)"
