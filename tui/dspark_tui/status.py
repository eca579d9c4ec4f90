"""The words of the status line and the phase line. Pure functions of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.events import SpeculationState
from dspark_local.speculation_label import speculation_label
from dspark_tui.meter import LiveMeter

SEPARATOR = " │ "
_BAR_CELLS = 5


@dataclass(frozen=True, slots=True)
class Segment:
    """One figure. When the line is too narrow the least important is shortened, then left out, first."""

    text: str
    importance: int
    short: str = ""


def status_line(
    info: ModelInfo | None,
    meter: LiveMeter,
    *,
    thinking: bool,
    width: int,
    unsaved: bool = False,
    memory: str = "",
    help_key: str = "F1",
) -> str:
    """One line of at most `width` columns: model, speeds, accepted length, context, speculation, memory, thinking.

    help_key is named as the way to all keys. unsaved puts in front that something said is not on disk. memory says
    what the engine takes, where that is known.
    """
    warning = [Segment("NOT SAVED", 10)] if unsaved else []
    way_to_help = Segment(f"{help_key} help", 1)
    if info is None:
        return fit([*warning, Segment("no model", 9), way_to_help], width)
    segments = [*warning, Segment(model_label(info), 6, "demo" if info.is_demo else "")]
    if meter.tokens_per_second:
        segments.append(Segment(f"{meter.tokens_per_second:.1f} tok/s", 8))
    if meter.accepted_length:
        segments.append(Segment(f"{meter.accepted_length:.2f} tok/pass", 7))
    if (first := meter.first_token_seconds) is not None:
        segments.append(Segment(f"first token {first:.1f} s", 3, f"first {first:.1f} s"))
    used, length = meter.context_used, info.context_length
    segments.append(Segment(f"context {context_label(used, length)}{_bar(used, length)}", 9, _brief(used, length)))
    if info.device != "remote":
        # Before the first answer nothing is measured: all that is known is whether there is a draft.
        state = meter.speculation or SpeculationState("on" if info.draft_block_size else "off")
        segments.append(Segment(f"spec {speculation_label(state)}", 5, f"spec {speculation_label(state, brief=True)}"))
    if memory:
        segments.append(Segment(memory, 3))
    segments.append(Segment("thinking on", 4, "think") if thinking else Segment("thinking off", 2, "think off"))
    segments.append(way_to_help)
    return fit(segments, width)


def fit(segments: list[Segment], width: int) -> str:
    """Join the segments into at most `width` columns: shorten, then leave out, then cut."""
    kept = list(segments)
    for by_importance in sorted(segments, key=lambda segment: segment.importance):
        if len(_join(kept)) > width and by_importance.short:
            kept[kept.index(by_importance)] = Segment(by_importance.short, by_importance.importance)
    while len(kept) > 1 and len(_join(kept)) > width:
        kept.remove(min(kept, key=lambda segment: segment.importance))
    line = _join(kept)
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def _join(segments: list[Segment]) -> str:
    return SEPARATOR.join(segment.text for segment in segments)


def model_label(info: ModelInfo) -> str:
    """The model's name, with `demo` said plainly."""
    return f"{info.id} (demo model)" if info.is_demo else info.id


def context_label(used: int, length: int) -> str:
    """Like `412/2,048 (20%)`; without a known length only what is used, and no share that rounds to nothing."""
    return f"{used:,}/{length:,}{_share(used, length)}" if length > 0 else f"{used:,}"


def _brief(used: int, length: int) -> str:
    return f"ctx {used:,}{_share(used, length)}"


def _share(used: int, length: int) -> str:
    return f" ({used / length:.0%})" if length > 0 and used / length >= 0.005 else ""


def _bar(used: int, length: int) -> str:
    """Like ` ▰▰▱▱▱`; a cell is full as soon as anything in it is used, so that the last one warns in time."""
    if length <= 0 or used <= 0:
        return ""
    full = min(-(-used * _BAR_CELLS // length), _BAR_CELLS)
    return f" {'▰' * full}{'▱' * (_BAR_CELLS - full)}"


def unsaved_text(problem: str, folder: Path) -> str:
    """What to say when `folder` refuses a conversation."""
    return (
        f"This conversation is not on disk: {problem} ({folder}). Make room there; it is tried again by itself. "
        "If it still cannot be saved when you quit, a copy goes to the temporary folder."
    )


def loading_label(progress: LoadProgress) -> str:
    """Like `Loading the model 41% · mapping weights`."""
    share = f" {progress.done_bytes / progress.total_bytes:.0%}" if progress.total_bytes else ""
    return f"Loading the model{share}" + (f" · {progress.stage}" if progress.stage else "")


def phase_label(meter: LiveMeter) -> str:
    """What the engine is doing for the person who waits; empty when idle."""
    seconds = f"{meter.phase_seconds:.0f} s"
    match meter.phase:
        case "waiting":
            return f"Waiting for the engine {seconds} · Esc stops"
        case "reading":
            done, total = meter.prefill
            return f"Reading the prompt {done:,}/{total:,} tokens · Esc stops"
        case "thinking":
            return f"Thinking {seconds} · Esc stops"
        case "answering":
            return f"Answering {seconds} · Esc stops"
        case _:
            return ""
