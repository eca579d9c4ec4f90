"""What `dspark-local list --fit` tells: every model, here or to be had, with the plan's verdict for this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspark_local.errors import DsparkError, ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dspark_local.catalog.schema import Entry
    from dspark_local.plan.machine import Machine
    from dspark_local.plan.plan import Plan
    from dspark_local.plan.source import RemoteModel
    from dspark_local.store.models import InstalledModel


def fit_object(machine: Machine, cache: str) -> dict[str, Any]:
    """One JSON object; amounts are bytes, speeds tokens a second. Asks no network. Raises OSError."""
    from dspark_local.catalog.catalog import entries
    from dspark_local.plan.engine_traits import ENGINE_NOTE, NO_ENGINE_NOTE
    from dspark_local.plan.page import machine_title
    from dspark_local.store.installed import installed

    here = [model for model in installed() if model.role == "target"]
    plans: dict[object, dict[str, Any]] = {}
    known = [_of_entry(entry, _best(here, entry), machine, plans) for entry in entries()]
    own = [_of_repository(model, machine) for model in here if model.entry is None]
    card = machine.card
    return {
        "machine": {
            "title": machine_title(machine),
            "card": None
            if card is None
            else {"name": card.name, "vram": card.vram_bytes, "vram_free": card.free_bytes},
            "ram": machine.ram_bytes,
            "ram_free": machine.ram_free_bytes,
            "disk_free": machine.disk_free_bytes,
            "cache": cache,
            "assumed": list(machine.assumed),
            "notes": list(machine.notes),
        },
        "models": own + known,
        "engine_note": ENGINE_NOTE,
        "no_engine_note": NO_ENGINE_NOTE,
    }


def _best(here: Sequence[InstalledModel], entry: Entry) -> InstalledModel | None:
    """Of several copies the one that can be used."""
    copies = [model for model in here if model.entry == entry]
    return min(copies, key=lambda model: model.state.kind == "incomplete", default=None)


def _of_entry(
    entry: Entry, here: InstalledModel | None, machine: Machine, plans: dict[object, dict[str, Any]]
) -> dict[str, Any]:
    # Releases of one shape have one plan, and counting a large one takes half a second.
    shape = (entry.config, entry.target.nbytes, entry.draft_kind) if entry.config and here is None else entry.name
    if shape not in plans:
        plans[shape] = _planned(entry.name, machine)
    known = entry.nbytes if entry.nbytes is not None else entry.target.nbytes
    return {
        "name": entry.name,
        "title": entry.title,
        "is_bundled": entry.is_bundled,
        "runs": entry.engine == "native",
        "licence": entry.licence,
        "note": entry.note,
        "download": {"bytes": known, "is_whole": entry.nbytes is not None},
        "least": {"vram": round(entry.minimum.vram_gib * 2**30), "ram": round(entry.minimum.ram_gib * 2**30)},
        "installed": _installed(here),
        **plans[shape],
    }


def _of_repository(model: InstalledModel, machine: Machine) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.repo,
        "is_bundled": False,
        "runs": model.state.kind == "incomplete",  # nobody can tell yet, so nobody says no
        "licence": "",
        "note": "",
        "download": {"bytes": model.state.expected_bytes or model.nbytes, "is_whole": True},
        "least": None,
        "installed": _installed(model),
        **_planned(model.name, machine),
    }


def _installed(model: InstalledModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "state": model.state.kind,
        "present_bytes": model.state.present_bytes,
        "expected_bytes": model.state.expected_bytes,
        "bytes": model.nbytes,
        "path": str(model.path),
    }


def _planned(name: str, machine: Machine) -> dict[str, Any]:
    """The plan in short and whether this version's engine runs it, or why nobody can tell."""
    from dspark_local.plan.plan import make_plan
    from dspark_local.plan.source import find_source

    try:
        source = find_source(name, dtype="auto", on_card=machine.card is not None, resolver=_no_network)
    except DsparkError as error:
        return {"plan": None, "plan_problem": error.message}
    return {"plan": _short(make_plan(source.facts, machine, source.context)), "plan_problem": "", "runs": source.runs}


def _no_network(repo: str, revision: str) -> RemoteModel:
    raise ModelNotFoundError(f"Nothing is known of the inside of {repo} before it is here.")


def _short(plan: Plan) -> dict[str, Any]:
    placement, expected = plan.placement, plan.estimate
    fits = plan.verdict != "does_not_fit"
    return {
        "verdict": plan.verdict,
        "reasons": list(plan.reasons),
        "context": plan.context,
        "needs": {tier: placement.bytes_in(tier) for tier in ("vram", "ram", "disk")},
        "lacking": {"vram": plan.vram_short, "ram": plan.ram_short},
        "disk_needed": placement.disk_needed,
        "speed": {
            "plain": expected.plain,
            "chat": expected.of("chat").speculated,
            "code": expected.of("code").speculated,
            "has_draft": plan.facts.draft is not None,
            "uncertainty": expected.uncertainty,
        }
        if fits
        else None,
    }
