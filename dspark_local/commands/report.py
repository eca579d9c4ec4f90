"""What `run` tells about an answer beside its text: a summary, one JSON object, a trace of rounds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from dspark_local.errors import UsageError
from dspark_local.events import Finished, GenerationStats, RoundDone
from dspark_local.speculation_label import speculation_label


def stats_object(stats: GenerationStats) -> dict[str, Any]:
    """The counts and times, with the figures that follow from them."""
    return {
        **asdict(stats),
        "accepted_length": stats.accepted_length,
        "tokens_per_second": stats.tokens_per_second,
    }


def answer_object(text: str, reasoning: str, done: Finished) -> dict[str, Any]:
    """What --json prints."""
    return {
        "text": text,
        "reasoning": reasoning,
        "token_ids": list(done.token_ids),
        "finish_reason": done.reason,
        "stats": stats_object(done.stats),
    }


def summary(stats: GenerationStats) -> str:
    """What --stats prints: a few aligned lines."""
    rows = [
        ("prompt", f"{stats.prompt_tokens:,} tokens, {stats.cached_tokens:,} of them cached"),
        ("answer", f"{stats.completion_tokens:,} tokens in {stats.passes:,} passes"),
        ("speed", f"{stats.tokens_per_second:.1f} tokens/s, first token after {stats.prefill_seconds:.2f} s"),
        ("accepted length", f"{stats.accepted_length:.2f} tokens a pass"),
        ("speculation", speculation_label(stats.speculation)),
    ]
    if stats.verified_tokens:
        share = stats.accepted_tokens / stats.verified_tokens
        counts = f"{stats.accepted_tokens:,} kept of {stats.verified_tokens:,} verified ({share:.0%})"
        rows.append(("drafts", f"{counts}, {stats.drafted_tokens:,} drafted"))
        rows.append(("kept by position", _by_position(stats)))
    rows.append(("context", f"{stats.context_used:,} of {stats.context_length:,}"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _by_position(stats: GenerationStats) -> str:
    """Share of the verified drafts that were kept, by place in the block."""
    pairs = zip(stats.accepted_per_position, stats.verified_per_position, strict=True)
    return "  ".join(f"{accepted / verified:.0%}" if verified else "-" for accepted, verified in pairs)


class TraceFile:
    """One JSON line a round. A context manager; without a path it does nothing.

    UsageError when the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream = None
        if path is not None:
            try:
                self._stream = path.open("w", encoding="utf-8", buffering=1)
            except OSError as error:
                raise self._refusal(error) from error

    def write(self, event: RoundDone) -> None:
        """Append one round."""
        if self._stream is None:
            return
        line = {
            "position": event.position,
            "anchor": event.anchor,
            "draft_ids": list(event.draft_ids),
            "confidences": list(event.confidences),
            "verified": event.verified,
            "accepted": event.accepted,
            "source": event.source,
            "draft_seconds": event.draft_seconds,
            "verify_seconds": event.verify_seconds,
        }
        try:
            self._stream.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._refusal(error) from error

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            try:
                self._stream.close()
            except OSError as failure:
                raise self._refusal(failure) from failure

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"The trace file {self._path} cannot be written: {error.strerror or error}.", hint="Choose another --trace."
        )
