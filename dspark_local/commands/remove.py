"""`dspark-local rm`: frees the disk of a model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dspark_local.commands.console import show_json
from dspark_local.commands.stdout import write_stdout
from dspark_local.commands.store_errors import readable_store
from dspark_local.errors import ModelNotFoundError, UsageError
from dspark_local.sizes import format_bytes

_PLACES = {"cache": "hub cache", "repacked": "repacked", "draft": "draft"}


def remove(
    name: Annotated[str, typer.Argument(help="A name of the catalog or owner/repository[@revision].")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="cache, repacked or draft: leave the other copies alone.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document; needs --yes.")] = False,
) -> None:
    """Remove a model with its separate draft, its repacked copy and unfinished downloads.

    Files that another model here uses stay, and so does everything that no model of this name brought.
    """
    from dspark_local.catalog.reference import CatalogModel, LocalModel, parse_reference
    from dspark_local.store.installed import all_models
    from dspark_local.store.removal import execute, plan_removal
    from dspark_local.store.resolve import to_remove

    if only is not None and only not in _PLACES:
        raise UsageError(f"--only is {only!r}.", hint=f"It is one of {', '.join(_PLACES)}.")
    if as_json and not yes:
        raise UsageError("--json asks no question.", hint="Add --yes to remove it without one.")
    reference = parse_reference(name)
    if isinstance(reference, LocalModel):
        raise UsageError(f"{reference.path} is a directory of your own.", hint="Remove it with the system's own tools.")
    if isinstance(reference, CatalogModel) and reference.entry.is_bundled:
        raise UsageError("The demo is a part of this package.", hint="It takes 15 MB and goes when the package goes.")
    with readable_store():
        models = [model for model in to_remove(reference) if only is None or model.kind == _PLACES[only]]
        if not models:
            raise ModelNotFoundError(f"{name} is not on this computer.", hint="dspark-local list shows what is.")
        removal = plan_removal(models, [model for model in all_models() if model not in models])
    if not as_json:
        write_stdout("".join(f"{format_bytes(step.nbytes):>9}  {step.what}\n" for step in removal.steps))
        if removal.kept:
            write_stdout(f"{len(removal.kept)} files stay: another model uses them.\n")
    if not yes and not _agrees(f"Remove {name} and free {format_bytes(removal.nbytes)}?"):
        write_stdout("Nothing was removed.\n")
        raise typer.Exit(1)
    execute(removal)
    if as_json:
        show_json({"name": name, "freed_bytes": removal.nbytes, "removed": [step.what for step in removal.steps]})
    else:
        write_stdout(f"{format_bytes(removal.nbytes)} freed.\n")


def _agrees(question: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked.", hint="Add --yes to remove it without a question.")
    return typer.confirm(question, err=True)
