"""Amounts as people write and read them: 12GiB, 64G, 32k tokens.

Files and disks are shown in powers of ten, as the hub and disk makers do; memory in powers of two, as card makers do.
"""

from __future__ import annotations

import re

from dspark_local.errors import UsageError

_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*")
_BYTES = {
    "": 1,
    "b": 1,
    "k": 2**10,
    "kib": 2**10,
    "kb": 10**3,
    "m": 2**20,
    "mib": 2**20,
    "mb": 10**6,
    "g": 2**30,
    "gib": 2**30,
    "gb": 10**9,
    "t": 2**40,
    "tib": 2**40,
    "tb": 10**12,
}
_TOKENS = {"": 1, "k": 2**10, "m": 2**20}
_DECIMAL = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def parse_bytes(text: str, option: str) -> int:
    """`12GiB`, `12G` (the same), `12GB` (12 * 10^9) or plain bytes. UsageError names the option."""
    return _parse(text, _BYTES, option, "12GiB, 64G or 500MB")


def parse_tokens(text: str, option: str) -> int:
    """`32k` (32,768), `1M` (1,048,576) or a plain number, at least 1. UsageError names the option."""
    tokens = _parse(text, _TOKENS, option, "32768, 32k or 1M")
    if tokens < 1:
        raise UsageError(f"{option} is {text!r}, it must be at least 1.")
    return tokens


def _parse(text: str, units: dict[str, int], option: str, examples: str) -> int:
    match = _AMOUNT.fullmatch(text)
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise UsageError(f"{option} is {text!r}, which is no amount.", hint=f"Write it like {examples}.")
    return round(float(match[1]) * unit)


def format_bytes(count: float) -> str:
    """Bytes of files and transfers, in powers of ten: 159.6 GB."""
    for unit, name in _DECIMAL:
        if abs(count) >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


def format_gib(count: float) -> str:
    """Bytes of memory: 6.27 GiB; MiB under a tenth of that unit."""
    if abs(count) < 0.1 * 2**30:
        return f"{count / 2**20:.1f} MiB"
    return f"{count / 2**30:.2f} GiB"


def format_tokens(count: int) -> str:
    """Tokens, short where that is exact: 32k, 1M, 1,500."""
    for unit, name in ((2**20, "M"), (2**10, "k")):
        if count >= unit and count % unit == 0:
            return f"{count // unit}{name}"
    return f"{count:,}"
