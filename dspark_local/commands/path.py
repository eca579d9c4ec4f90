"""`dspark-local path`: where a model lies, for scripts."""

from __future__ import annotations

from typing import Annotated

import typer

from dspark_local.commands.checking_progress import checking_progress
from dspark_local.commands.stdout import write_stdout
from dspark_local.commands.store_errors import readable_store


def path(
    name: Annotated[str, typer.Argument(help="A name of the catalog, owner/repository[@revision] or a directory.")],
    draft: Annotated[bool, typer.Option("--draft", help="The draft's place instead.")] = False,
) -> None:
    """Print the directory of a model, once its files are checked, and nothing else."""
    from dspark_local.store.resolve import find_draft, find_model

    with readable_store(), checking_progress() as progress:
        place = find_draft(name, progress) if draft else find_model(name, progress).path
    write_stdout(f"{place}\n")
