"""Optional packages: there or not, what they would do here, and the command that adds them."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extra:
    """version is empty when the package is absent; command is empty where it does not exist for this system."""

    name: str
    version: str
    use: str
    command: str


def read_extras() -> tuple[Extra, ...]:
    """triton, bitsandbytes and llama-cpp-python, looked up without loading them."""
    triton = "triton-windows" if sys.platform == "win32" else "triton"
    has_triton = sys.platform in {"linux", "win32"}
    return (
        _extra(triton, "fused kernels on NVIDIA cards; this version has none yet", "gpu" if has_triton else ""),
        _extra("bitsandbytes", "4-bit dense weights; not used by this version yet", "bnb"),
        _extra("llama-cpp-python", "GGUF models on any hardware; not used by this version yet", "llama"),
    )


def _extra(package: str, use: str, name: str) -> Extra:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return Extra(package, version, use, f"pip install 'dspark-local[{name}]'" if name else "")
