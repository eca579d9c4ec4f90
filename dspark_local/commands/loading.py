"""Opening the model that a command asks for."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from dspark_local.demo import weights_path
from dspark_local.errors import UsageError

if TYPE_CHECKING:
    from dspark_local.native import NativeBackend
    from dspark_local.store.checking import Progress
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


def locate(model: str | None, draft: str | None = None, progress: Progress | None = None) -> Located:
    """Where a model and its draft lie; the demo for None. Files that were never checked are hashed first.

    progress is told how far that is, a bar on stderr if it is None. Raises DsparkError for a name that is not known, or
    a model that is not whole on this disk, not what the hub recorded, or none that this version runs.
    """
    from dspark_local.commands.checking_progress import checking_progress

    with nullcontext(progress) if progress is not None else checking_progress() as report:
        return _locate(model, draft, report, verify=True)


def demand_present(model: str | None, draft: str | None = None) -> None:
    """Find out in a moment, without hashing, whether `locate` has anything to load. Raises DsparkError as it would."""
    _locate(model, draft, None, verify=False)


def _locate(model: str | None, draft: str | None, progress: Progress | None, *, verify: bool) -> Located:
    from dspark_local.commands.store_errors import readable_store
    from dspark_local.store.resolve import Located, find_draft, find_model

    with readable_store():
        located = Located(weights_path(), None, "demo")
        if model is not None:
            _demand_an_engine(model)
            located = find_model(model, progress, verify=verify)
        if draft is None:
            return located
        return replace(located, draft_path=find_draft(draft, progress, verify=verify))


def _demand_an_engine(model: str) -> None:
    from dspark_local.catalog.reference import CatalogModel, parse_reference

    reference = parse_reference(model)
    if isinstance(reference, CatalogModel) and reference.entry.engine != "native":
        raise UsageError(
            f"{reference.entry.name} can be fetched and kept, but this version has no engine that runs it.",
            hint="dspark-local list --available shows what runs.",
        )


def say_dim(line: str) -> None:
    """A remark on stderr, dim where that is a terminal."""
    print(dim(line), file=sys.stderr, flush=True)


def dim(text: str) -> str:
    """`text` as a terminal shows it dim; unchanged when stderr is none or NO_COLOR is set."""
    return f"\x1b[2m{text}\x1b[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else text
