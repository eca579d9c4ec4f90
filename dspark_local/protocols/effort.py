"""The reasoning-effort prefixes. They are part of what the model was trained on: not a character may change."""

from __future__ import annotations

from typing import Literal

from dspark_local.request import ThinkingMode

Effort = Literal["high", "max"]
EffortDialect = Literal["preview", "0731"]

PREFIX_A = (
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause,"
    " rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, considered"
    " alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n"
)

PREFIX_B = (
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the"
    " problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying"
    " cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles and are certain"
    " that no assumption remains unchecked and no error remains undiscovered.\n\n"
)

# What the preview release calls "max" is what the 0731 release calls "high".
_PREFIXES: dict[tuple[EffortDialect, Effort], str] = {
    ("preview", "high"): "",
    ("preview", "max"): PREFIX_A,
    ("0731", "high"): PREFIX_A,
    ("0731", "max"): PREFIX_B,
}


def effort_prefix(thinking: ThinkingMode, effort: Effort | None, dialect: EffortDialect) -> str:
    """The text that follows BOS; empty outside thinking mode and without an effort."""
    if thinking != "thinking" or effort is None:
        return ""
    return _PREFIXES[dialect, effort]
