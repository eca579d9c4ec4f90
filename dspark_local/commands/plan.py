"""`dspark-local plan`: will this model run on this computer, or on one that is not there yet, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.console import show, show_json
from dspark_local.errors import OutOfMemoryError, UsageError

if TYPE_CHECKING:
    from dspark_local.hardware.facts import Hardware


def plan(
    model: Annotated[str, typer.Argument(help="A catalog name, owner/repository, or a model directory.")],
    context: Annotated[str | None, typer.Option("--context", help="Tokens of context, such as 32k.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help='A card by name, such as "rtx 4090".')] = None,
    vram: Annotated[str | None, typer.Option("--vram", help="Graphics memory, such as 12GiB; 0 for no card.")] = None,
    ram: Annotated[str | None, typer.Option("--ram", help="Memory, such as 64GiB.")] = None,
    ram_bandwidth: Annotated[
        str | None, typer.Option("--ram-bandwidth", help="What all cores read from RAM, such as 72GB/s.")
    ] = None,
    pcie: Annotated[str | None, typer.Option("--pcie", help="The card's link: gen4, 4x8 or 26GB/s.")] = None,
    disk_read: Annotated[
        str | None, typer.Option("--disk-read", help="Disk speed in reads of 13 MB, such as 6GB/s.")
    ] = None,
    cpu_only: Annotated[bool, typer.Option("--cpu-only", help="Plan without a card.")] = False,
    draft: Annotated[bool, typer.Option("--draft/--no-draft", help="With or without the model's draft.")] = True,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, in bytes and tokens/s.")] = False,
) -> None:
    """Tell whether a model fits, what lies where, how fast it will be, and what would change that.

    Plans for this computer, or for the hardware that the options describe. Exits with 6 when it does not fit.
    """
    from dspark_local.hub.peek import peek
    from dspark_local.plan.as_json import plan_object
    from dspark_local.plan.page import page
    from dspark_local.plan.plan import make_plan
    from dspark_local.plan.source import find_source
    from dspark_local.plan.suggestions import suggestions
    from dspark_local.plan.wish import Wish, wished_machine
    from dspark_local.sizes import parse_tokens

    wish = Wish(gpu, vram, ram, ram_bandwidth, pcie, disk_read, cpu_only)
    machine = wished_machine(wish, _probe)
    tokens = parse_tokens(context, "--context") if context is not None else None
    try:
        source = find_source(model, dtype=dtype, on_card=machine.card is not None, resolver=peek)
    except ValueError as error:
        raise UsageError(f"{error}.", hint="dtype is float32, bfloat16, float16 or auto.") from error
    facts = source.facts if draft else source.facts.without_draft()
    if tokens is not None and tokens > facts.max_context:
        raise UsageError(
            f"A context of {tokens:,} tokens was asked for, the model allows {facts.max_context:,}.",
            hint="Choose a smaller --context.",
        )
    made = make_plan(facts, machine, tokens or source.context)
    suggested = suggestions(made)
    if as_json:
        show_json(plan_object(made, suggested, is_here=source.is_here) | {"runs": source.runs})
    else:
        show(*page(made, suggested, is_here=source.is_here, runs=source.runs))
    if made.verdict == "does_not_fit":
        raise typer.Exit(OutOfMemoryError.exit_code)


def _probe() -> Hardware:
    from dspark_local.commands.loading import say_dim
    from dspark_local.hardware.probe import probe
    from dspark_local.store.locations import hub_cache_dir

    return probe(hub_cache_dir(), progress=lambda step: say_dim(f"{step} ..."))
