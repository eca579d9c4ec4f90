"""`dspark-local verify`: reads every byte of a model and compares it with what the hub recorded."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from dspark_local.commands.checking_progress import checking_progress
from dspark_local.commands.console import show_json
from dspark_local.commands.stdout import write_stdout
from dspark_local.commands.store_errors import readable_store
from dspark_local.errors import CheckpointError, IntegrityError, ModelNotFoundError, UsageError
from dspark_local.sizes import format_bytes


def verify(
    name: Annotated[str, typer.Argument(help="A name of the catalog or owner/repository[@revision].")],
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document.")] = False,
) -> None:
    """Hash all files of a model again, without a network. The exit code is 5 when one is wrong or missing."""
    from dspark_local.catalog.reference import CatalogModel, LocalModel, parse_reference
    from dspark_local.store.checking import check_files
    from dspark_local.store.resolve import candidates
    from dspark_local.store.verified import VerifiedFiles

    reference = parse_reference(name)
    if isinstance(reference, LocalModel):
        raise UsageError(
            f"{reference.path} is a directory of your own: nobody recorded what its files must hash to.",
            hint="Only what dspark-local pull or the hub's own client fetched can be verified.",
        )
    if isinstance(reference, CatalogModel) and reference.entry.is_bundled:
        raise UsageError("The demo is a part of this package, not a download.", hint="pip check looks after packages.")
    with readable_store():
        models = candidates(reference)
    if not models:
        raise ModelNotFoundError(f"{name} is not on this computer.", hint=f"Run dspark-local pull {name} to fetch it.")

    # The repacked copy and the one in the cache are files of their own; what a draft links to is read once.
    files = list({file.path.resolve(): file for model in models for file in model.files}.values())
    begin = time.monotonic()
    with readable_store(), checking_progress() as progress:
        report = check_files(files, VerifiedFiles(), progress)
    seconds = time.monotonic() - begin
    unfinished = [model for model in models if model.state.kind == "incomplete"]
    if as_json:
        show_json(
            {
                "name": models[0].name,
                "checked": len(report.checked),
                "bytes": report.nbytes,
                "seconds": round(seconds, 3),
                "wrong": [str(file.path) for file in report.wrong],
                "unknown": list(report.unknown),
                "complete": not unfinished,
            }
        )
        raise typer.Exit(IntegrityError.exit_code if report.wrong or unfinished else 0)
    if report.wrong:
        names = ", ".join(str(file.path) for file in report.wrong)
        one = len(report.wrong) == 1
        raise IntegrityError(
            f"{len(report.wrong)} of {len(files)} files {'is' if one else 'are'} not what was recorded: {names}.",
            hint=next(model for model in models if set(model.files) & set(report.wrong)).repair,
        )
    rate = f", {format_bytes(report.nbytes / seconds)}/s" if seconds >= 1 else ""
    amount = f"{format_bytes(report.nbytes)}{rate}"
    lines = [f"{models[0].name}: {len(report.checked)} files are as they were recorded ({amount})."]
    lines += [f"{name} was not checked: nobody recorded what it must hash to." for name in report.unknown]
    write_stdout("".join(f"{line}\n" for line in lines))
    if unfinished:
        raise CheckpointError(f"{unfinished[0].name} is {unfinished[0].state}.", hint=unfinished[0].repair)
