"""`dspark-local doctor`: what this computer has, what will be used, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.console import show, show_json
from dspark_local.commands.loading import say_dim

if TYPE_CHECKING:
    from dspark_local.doctor.report import Model


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object, without secrets or home paths, for bug reports.")
    ] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure again what is already known.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing.")] = False,
) -> None:
    """Look at this computer: hardware, packages, kernels, models, problems. Exits with 1 when a problem stands.

    Measuring takes a few seconds, the first time only.
    """
    from dspark_local.doctor.as_json import report_object
    from dspark_local.doctor.findings import find
    from dspark_local.doctor.page import page
    from dspark_local.doctor.report import gather
    from dspark_local.errors import UsageError
    from dspark_local.store.locations import hub_cache_dir

    if refresh and quick:
        raise UsageError("--refresh measures and --quick does not.", hint="Give one of the two.")
    report = gather(
        hub_cache_dir,
        _installed,
        measure=not quick,
        refresh=refresh,
        progress=lambda step: say_dim(f"{step} ..."),
    )
    findings = find(report)
    if as_json:
        show_json(report_object(report, findings))
    else:
        show(*page(report, findings))
    if any(finding.severity == "problem" for finding in findings):
        raise typer.Exit(1)


def _installed() -> Sequence[Model]:
    from dspark_local.doctor.report import Model
    from dspark_local.store.installed import installed

    return [Model(model.name, model.nbytes, str(model.state)) for model in installed()]
