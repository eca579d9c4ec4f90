"""Finding the model that a command asks for. Loads nothing, so that a client of the engine may ask too."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from dspark_local.demo import weights_path
from dspark_local.errors import UsageError

if TYPE_CHECKING:
    from dspark_local.store.checking import Progress
    from dspark_local.store.resolve import Located


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
