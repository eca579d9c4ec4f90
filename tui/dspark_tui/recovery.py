"""What can be offered when the engine has gone or memory has run out. Pure functions of plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_local.sizes import format_tokens
from dspark_tui.launcher import EngineOptions

SHORTEST_CONTEXT = 2048
_STEP = 256


@dataclass(frozen=True, slots=True)
class Offer:
    """A key, what it does in words, and the options that the engine is started with then."""

    key: str
    words: str
    options: EngineOptions


def offers(options: EngineOptions, *, context: int, used: int, failure: DsparkError | None) -> tuple[Offer, ...]:
    """Ways out besides starting the same again.

    context is the context length that did not do, 0 if it is not known; used is what the conversation takes of it;
    failure is an OutOfMemoryError when memory was the reason.
    """
    found: list[Offer] = []
    if isinstance(failure, OutOfMemoryError):
        smaller = failure.fitting_context or _half(options.context or context, used)
        if smaller is not None and smaller != options.context:
            words = f"start with a context of {format_tokens(smaller)}"
            if smaller < used:
                words += f" (this conversation has {used:,} tokens: begin a new one then)"
            found.append(Offer("s", words, replace(options, context=smaller)))
    if options.model is not None:
        found.append(Offer("d", "start the demo instead", EngineOptions()))
    return tuple(found)


def _half(context: int, used: int) -> int | None:
    """Half the context, but enough for what has been said; None when that is no less."""
    needed = -(-used // _STEP) * _STEP
    half = max(context // 2, SHORTEST_CONTEXT, needed)
    return half if half < context else None
