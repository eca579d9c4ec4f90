"""`dspark-local list`: what is on this computer, and what could be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspark_local.commands.console import console, show, show_json
from dspark_local.commands.stdout import write_stdout
from dspark_local.commands.store_errors import readable_store
from dspark_local.sizes import format_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from dspark_local.catalog.schema import Entry
    from dspark_local.store.models import InstalledModel

_STARTING_POINT = "deepseek-v4-flash-0731"


def list_models(
    available: Annotated[bool, typer.Option("--available", help="Show what the catalog offers instead.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show cached repositories that are no models of ours as well.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Show both, each with what a plan for this computer says of it.")
    ] = False,
    unloading: Annotated[
        int | None, typer.Option("--unloading", metavar="PID", help="With --fit: as if this process had ended.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document.")] = False,
) -> None:
    """Show the models on this computer, or those that can be fetched."""
    if fit:
        _show_fit(unloading, as_json)
        return
    if available:
        _show_catalog(as_json)
        return
    from dspark_local.store.installed import installed
    from dspark_local.store.locations import hub_cache_dir

    with readable_store():
        models = installed(everything=everything)
    free = _free_bytes(hub_cache_dir())
    if as_json:
        show_json({"models": [_as_dict(model) for model in models], "free_bytes": free, "cache": str(hub_cache_dir())})
        return
    if models:
        show(_table(models))
    else:
        write_stdout(
            "There is no model on this computer yet, apart from the bundled demo.\n"
            f"Fetch one: dspark-local pull {_STARTING_POINT}\n"
            "See them all: dspark-local list --available\n"
        )
    write_stdout(f"{format_bytes(free)} free in {_tilde(hub_cache_dir())}\n")


def _table(models: list[InstalledModel]) -> Table:
    from dspark_local.commands.tables import plain_table

    table = plain_table("name", ">size", "|state", "|draft")
    for model in models:
        state = "of another program" if model.role == "other" else str(model.state)
        table.add_row(_label(model), format_bytes(model.nbytes), state, _draft(model))
    return table


def _label(model: InstalledModel) -> str:
    if model.kind == "hub cache":
        return model.name
    return f"{model.name} ({'draft' if model.kind == 'draft' else 'repacked'})"


def _draft(model: InstalledModel) -> str:
    if model.role == "draft":
        return "only"
    if model.role == "other":
        return ""
    if model.draft is None:
        return "missing" if model.entry is not None and model.entry.draft is not None else "none"
    return "inside" if model.draft == "inside" else "separate"


def _as_dict(model: InstalledModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "repo": model.repo,
        "revisions": list(model.revisions),
        "commit": model.commit,
        "path": str(model.path),
        "kind": model.kind,
        "role": model.role,
        "bytes": model.nbytes,
        "state": model.state.kind,
        "present_bytes": model.state.present_bytes,
        "expected_bytes": model.state.expected_bytes,
        "draft": None if model.draft is None else str(model.draft),
        "engine": model.entry.engine if model.entry is not None else None,
    }


def _show_catalog(as_json: bool) -> None:
    from dspark_local.catalog.catalog import entries

    if as_json:
        show_json({"models": [entry.model_dump(mode="json") | {"nbytes": entry.nbytes} for entry in entries()]})
        return
    from dspark_local.commands.tables import plain_table

    columns = console().width
    has_licence, has_memory = columns >= 78, columns >= 66
    headings = [
        "|name",
        ">download",
        *([">VRAM", ">RAM"] if has_memory else []),
        *(["|licence"] if has_licence else []),
    ]
    table = plain_table(*headings, "|runs")
    for entry in entries():
        memory = [_gib(entry.minimum.vram_gib), _gib(entry.minimum.ram_gib)] if has_memory else []
        licence = [entry.licence.replace(" (target); not stated (draft)", "*")] if has_licence else []
        runs = "yes" if entry.engine == "native" else "not yet"
        table.add_row(entry.name, _download(entry), *memory, *licence, runs)
    notes = ["VRAM and RAM: the least it takes."] if has_memory else []
    notes += ["*: the draft's repository states no licence."] if has_licence else []
    show(
        table,
        *([" ".join(notes)] if notes else []),
        "not yet: this version fetches and keeps it, its engine does not run it.",
        "Other repositories of these families go by owner/name, directories by ./path.",
    )


def _show_fit(unloading: int | None, as_json: bool) -> None:
    from dspark_local.commands.freeing import without_process
    from dspark_local.commands.list_fit import fit_object
    from dspark_local.commands.loading import say_dim
    from dspark_local.hardware.probe import probe
    from dspark_local.plan.machine import machine_from
    from dspark_local.store.locations import hub_cache_dir

    with readable_store():
        machine = machine_from(probe(hub_cache_dir(), progress=lambda step: say_dim(f"{step} ...")))
        if unloading is not None:
            machine = without_process(machine, unloading)
        facts = fit_object(machine, str(hub_cache_dir()))
    if as_json:
        show_json(facts)
        return
    from dspark_local.commands.tables import plain_table

    table = plain_table("|name", ">size", "|here", "|plan", ">tokens/s", "|runs")
    for model in facts["models"]:
        table.add_row(*_fit_row(model))
    show(f"This computer: {facts['machine']['title']}", table, facts["engine_note"])


def _fit_row(model: dict[str, Any]) -> list[str]:
    size, plan, here = model["download"]["bytes"], model["plan"], model["installed"]
    speed = plan and plan["speed"]
    states = {"verified": "yes", "unverified": "yes", "incomplete": "partly"}
    return [
        model["name"],
        format_bytes(size) if size else "?",
        "bundled" if model["is_bundled"] else states[here["state"]] if here else "",
        plan["verdict"].replace("_", " ") if plan else "not known",
        f"{speed['chat']:.2g}" if speed else "",
        "yes" if model["runs"] else "not yet",
    ]


def _gib(count: float | None) -> str:
    return f"{count:g} GiB" if count else "none"


def _download(entry: Entry) -> str:
    if entry.is_bundled:
        return "bundled"
    if entry.nbytes is None:
        known = entry.target.nbytes
        return "?" if known is None else f"> {format_bytes(known)}"
    return format_bytes(entry.nbytes)


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _tilde(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):
        return str(path)
