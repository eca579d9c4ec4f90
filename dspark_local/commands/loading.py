"""Opening the model that a command asks for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dspark_local.commands.locating import locate

if TYPE_CHECKING:
    from dspark_local.native import NativeBackend
    from dspark_local.store.resolve import Located

MODEL_HELP = "Model: a name that `list` shows, owner/name, or a directory; the demo if left out."
DRAFT_HELP = "Draft, named like a model, if it is not the model's own."


def load_backend(
    model: str | None,
    *,
    draft: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    context: int | None = None,
    max_sequences: int = 1,
) -> NativeBackend:
    """The native engine on `model`, or on the bundled demo, which is then named on stderr. Raises DsparkError."""
    return load_located(
        locate_or_say_demo(model, draft),
        dtype=dtype,
        device=device,
        context=context,
        max_sequences=max_sequences,
    )


def locate_or_say_demo(model: str | None, draft: str | None = None) -> Located:
    """As locate, with a line on stderr when that is the demo for want of a name."""
    if model is None:
        say_dim("Using the bundled demo, a tiny model that knows a small world; --model NAME takes another.")
    return locate(model, draft)


def load_located(
    located: Located, *, dtype: str = "auto", device: str = "auto", context: int | None = None, max_sequences: int = 1
) -> NativeBackend:
    """The native engine on what `locate` found. Raises DsparkError."""
    from dspark_local.native import NativeBackend  # torch: seconds

    return NativeBackend.load(
        located.path,
        draft_dir=located.draft_path,
        name=located.name,
        dtype=dtype,
        device=device,
        context_length=context,
        max_sequences=max_sequences,
    )


def say_dim(line: str) -> None:
    """A remark on stderr, dim where that is a terminal."""
    print(dim(line), file=sys.stderr, flush=True)


def dim(text: str) -> str:
    """`text` as a terminal shows it dim; unchanged when stderr is none or NO_COLOR is set."""
    return f"\x1b[2m{text}\x1b[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else text
