"""From what a user names to a model's facts: a directory's headers, the catalog's configs, or a hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dspark_local.catalog.reference import CatalogModel, HubModel, LocalModel, parse_reference
from dspark_local.errors import CheckpointError, ModelNotFoundError
from dspark_local.model_errors import models_errors
from dspark_local.plan.decoder_facts import decoder_facts, with_separate_draft
from dspark_local.plan.model_facts import ModelFacts
from dspark_local.plan.v4_facts import checkpoint_facts, planned_numerics, v4_facts

if TYPE_CHECKING:
    from dspark_local.catalog.schema import Entry
    from dspark_models.deepseek_v4.footprint import DraftKind
    from dspark_models.numerics import Numerics

PLANNED_CONTEXT = 32_768
"""Tokens of context when nobody asks for another number and the model allows as many."""


class RemoteModel(NamedTuple):
    """What a hub tells of a repository without a download: its config.json and, if known, its weights' bytes."""

    config: Mapping[str, Any]
    weight_bytes: int | None


Resolver = Callable[[str, str], Path | RemoteModel]
"""(repository, revision) -> its directory on this computer, or what the hub tells of it. Raises DsparkError."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model whose facts can be told. is_here: its files are on this computer; runs: this version's engine runs it."""

    facts: ModelFacts
    context: int
    is_here: bool
    runs: bool = True


def find_source(text: str, *, dtype: str, on_card: bool, resolver: Resolver) -> Source:
    """The model that `text` names, with its draft.

    dtype is the engine's --dtype. Raises ModelNotFoundError, CheckpointError, and ValueError for an unknown dtype.
    """
    numerics = planned_numerics(dtype, on_card=on_card)
    reference = parse_reference(text)
    with models_errors():
        match reference:
            case LocalModel(path):
                return _from_directory(path, numerics)
            case CatalogModel(entry):
                return _from_catalog(entry, numerics, resolver, _installed(reference, text))
            case HubModel(repo, revision):
                found = _installed(reference, text) or resolver(repo, revision)
                return _from_hub(repo.rpartition("/")[2], found, numerics)


def _installed(reference: CatalogModel | HubModel, text: str) -> Path | None:
    """The directory of a model that is wholly on this computer, whether its files were checked or not."""
    from dspark_local.store.resolve import select

    try:
        model = select(reference, text)
    except ModelNotFoundError:
        return None
    return None if model.state.kind == "incomplete" else model.path


def _from_directory(path: Path, numerics: Numerics, name: str = "") -> Source:
    from dspark_models.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(path)
    name = name or path.resolve().name
    is_v4 = checkpoint.config.get("model_type") == "deepseek_v4"
    if is_v4:
        facts = checkpoint_facts(name, checkpoint, numerics)
    else:
        facts = decoder_facts(name, checkpoint.config, checkpoint.weight_bytes)
    return Source(facts, min(facts.max_context, PLANNED_CONTEXT), is_here=True, runs=is_v4)


def _from_catalog(entry: Entry, numerics: Numerics, resolver: Resolver, here: Path | None) -> Source:
    if entry.is_bundled:
        from dspark_local.demo import weights_path

        return _from_directory(weights_path(), numerics, entry.name)
    if entry.format != "safetensors":
        raise CheckpointError(
            f"{entry.name} is a GGUF file, whose parts the planner does not know yet.",
            hint="Plan for the safetensors release of the same model; a GGUF file takes its size in memory.",
        )
    if entry.config is None:
        return _from_hub(entry.name, here or resolver(entry.target.repo, entry.target.revision), numerics)
    raw = json.loads((files("dspark_local.catalog") / "configs" / f"{entry.config}.json").read_text(encoding="utf-8"))
    if entry.family == "deepseek_v4":
        kind: DraftKind = entry.draft_kind if entry.draft_kind and entry.draft_in_target else "none"
        facts = v4_facts(entry.name, raw, kind, numerics)
    else:
        facts = decoder_facts(entry.name, raw, entry.target.nbytes)
        if entry.draft is not None and entry.draft.nbytes is not None:
            facts = with_separate_draft(facts, entry.draft.nbytes, raw["vocab_size"])
    context = min(entry.context_recommended, PLANNED_CONTEXT)
    return Source(facts, context, is_here=here is not None, runs=entry.engine == "native")


def _from_hub(name: str, found: Path | RemoteModel, numerics: Numerics) -> Source:
    if isinstance(found, Path):
        return _from_directory(found, numerics, name)
    is_v4 = found.config.get("model_type") == "deepseek_v4"
    if is_v4:
        kind: DraftKind = "dspark" if "dspark_block_size" in found.config else "mtp"
        facts = v4_facts(name, found.config, kind, numerics)
    else:
        facts = decoder_facts(name, found.config, found.weight_bytes)
    return Source(facts, min(facts.max_context, PLANNED_CONTEXT), is_here=False, runs=is_v4)
