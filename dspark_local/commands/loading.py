"""Opening the model that a command asks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dspark_local.demo import weights_path

if TYPE_CHECKING:
    from dspark_local.native import NativeBackend


def load_backend(
    model: Path | None,
    *,
    draft: Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
    context: int | None = None,
    max_sequences: int = 1,
) -> NativeBackend:
    """The native engine on `model`, or on the bundled demo, which is then named on stderr. Raises DsparkError."""
    if model is None:
        say_dim("Using the bundled demo, a tiny model that knows a small world; --model DIR takes another.")
    from dspark_local.native import NativeBackend  # torch: seconds

    return NativeBackend.load(
        model or weights_path(),
        draft_dir=draft,
        dtype=dtype,
        device=device,
        context_length=context,
        max_sequences=max_sequences,
    )


def say_dim(line: str) -> None:
    """A remark on stderr, dim where that is a terminal."""
    print(dim(line), file=sys.stderr, flush=True)


def dim(text: str) -> str:
    """`text` as a terminal shows it dim; unchanged when stderr is none."""
    return f"\x1b[2m{text}\x1b[0m" if sys.stderr.isatty() else text
