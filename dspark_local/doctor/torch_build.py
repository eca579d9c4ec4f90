"""Which torch is installed and what it was built for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """backend is such as "CUDA 13.0", "ROCm 6.4", "Metal" or "CPU"; error says why torch does not load.

    architectures    the kernels in a CUDA build, such as sm_75 and compute_90
    """

    version: str
    backend: str
    architectures: tuple[str, ...] = ()
    error: str = ""

    @property
    def is_cpu_only(self) -> bool:
        """Whether it cannot compute on any graphics card."""
        return self.backend == "CPU"

    @property
    def release(self) -> tuple[int, int]:
        """(2, 13) of 2.13.0+cpu; (0, 0) without a version."""
        major, _, rest = self.version.partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)

    def has_kernels_for(self, capability: tuple[int, int]) -> bool:
        """Whether binaries of the same major version and no later minor, or code to compile at load, are inside."""
        if not self.architectures:
            return True
        for architecture in self.architectures:
            kind, _, number = architecture.partition("_")
            digits = number.rstrip("af")
            if not digits.isdigit():
                continue
            built = (int(digits[:-1]), int(digits[-1]))
            if built <= capability and (kind == "compute" or built[0] == capability[0]):
                return True
        return False


def read_torch_build() -> TorchBuild:
    """Load torch and ask it; a torch that does not load is reported, not raised."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return TorchBuild("", "CPU", error=str(error).partition("\n")[0])
    if torch.version.hip:
        return TorchBuild(torch.__version__, f"ROCm {torch.version.hip}")
    if torch.version.cuda:
        architectures = torch.cuda.get_arch_list() if torch.cuda.is_available() else []
        return TorchBuild(torch.__version__, f"CUDA {torch.version.cuda}", tuple(architectures))
    return TorchBuild(torch.__version__, "Metal" if torch.backends.mps.is_available() else "CPU")
