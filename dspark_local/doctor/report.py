"""Everything the page says, gathered once; a part that fails is a sentence in it and stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dspark_kernels import dispatch
from dspark_local.doctor.extras import Extra, read_extras
from dspark_local.doctor.hub import Hub, read_hub
from dspark_local.doctor.system import System, read_system
from dspark_local.doctor.torch_build import TorchBuild, read_torch_build
from dspark_local.hardware.disk import filesystem_type
from dspark_local.hardware.probe import Progress, Survey, survey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Model:
    """One model on disk, as the store names it; state says whether it is complete and verified."""

    name: str
    nbytes: int
    state: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one operation uses."""

    op: str
    implementation: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """None stands for a part that failed; failures then says how, a sentence each."""

    system: System | None
    survey: Survey | None
    filesystem: str
    torch: TorchBuild | None
    extras: tuple[Extra, ...]
    kernels: tuple[Kernel, ...]
    hub: Hub | None
    models: tuple[Model, ...]
    failures: tuple[str, ...]


def gather(
    cache: Callable[[], Path],
    installed: Callable[[], Sequence[Model]],
    *,
    measure: bool = True,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Look at everything.

    cache        the folder where models lie
    installed    the models on disk
    measure, refresh, progress    as for hardware.probe.survey
    """
    failures: list[str] = []

    def attempt(part: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:  # noqa: BLE001  a broken machine is what this report is for; the failure is shown
            reason = str(error).partition("\n")[0]
            failures.append(f"{part} could not be looked at: {type(error).__name__}: {reason}")
            return None

    system = attempt("The system", read_system)
    torch = attempt("torch", read_torch_build)
    folder = attempt("The cache folder", cache) or Path.home()
    found = attempt("The hardware", lambda: survey(folder, measure=measure, refresh=refresh, progress=progress))
    device = _device(found)
    return Report(
        system=system,
        survey=found,
        filesystem=attempt("The file system", lambda: filesystem_type(folder)) or "",
        torch=torch,
        extras=attempt("The extras", read_extras) or (),
        kernels=attempt("The kernels", lambda: _kernels(device)) or (),
        hub=attempt("The hub", lambda: read_hub(folder)),
        models=attempt("The models on disk", lambda: tuple(installed())) or (),
        failures=tuple(failures),
    )


def _device(found: Survey | None) -> str:
    """Where the engine would compute; ROCm answers to the name of CUDA."""
    return "cuda" if found is not None and found.usable_gpus else "cpu"


def _kernels(device: str) -> tuple[Kernel, ...]:
    choices = {op: dispatch.pick(op, device) for op in dispatch.OPS}
    return tuple(Kernel(op, choice.implementation, choice.reason) for op, choice in choices.items())
