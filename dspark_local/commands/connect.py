"""`dspark-local connect`: ready configuration for other programs that are to use the server."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.stdout import write_stdout
from dspark_local.errors import DsparkError, UsageError

if TYPE_CHECKING:
    from dspark_local.connect.filling import ReadyFile, ServerFacts, Setup

DEFAULT_URL = "http://127.0.0.1:8484"


def connect(
    client: Annotated[str | None, typer.Argument(help="The program to configure; without it, all are listed.")] = None,
    url: Annotated[str, typer.Option("--url", help="The server; its key from DSPARK_API_KEY.")] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option("--model", help="Its model; asked of the server if left out.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files, after showing what changes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Print what makes a program use this server, or write it. No key is ever written: it stays in DSPARK_API_KEY."""
    from dspark_local.connect.clients import find_client, load_clients
    from dspark_local.connect.filling import fill

    if client is None:
        clients = load_clients()
        width = max(map(len, clients))
        write_stdout("".join(f"{name:{width}}  {known.title}\n" for name, known in clients.items()))
        return
    known = find_client(client)
    server = _server(url, model)
    setup = fill(known, server)
    if not write:
        write_stdout(_page(setup, server))
        return
    files = [*setup.files, *_env_file(client, setup)]
    if not files:
        raise UsageError(f"{client} has no file that could be written.", hint="Run this without --write.")
    _write(files, yes=yes)
    write_stdout(_starting(client, setup))


def _server(url: str, model: str | None) -> ServerFacts:
    from dspark_local.client import EngineClient
    from dspark_local.connect.filling import ServerFacts

    key = os.environ.get("DSPARK_API_KEY") or None

    async def ask() -> ServerFacts:
        async with EngineClient(url, key) as engine:
            try:
                offered = await engine.models()
            except DsparkError as error:
                if model is not None:  # the server may be started later
                    return ServerFacts(url, model, 0, key is not None)
                error.hint = f"Start it (dspark-local serve), or name its model with --model. {error.hint}".strip()
                raise
        found = next((info for info in offered if model in (None, info.id)), None)
        if found is None:
            names = ", ".join(info.id for info in offered) or "none"
            raise UsageError(f"The server at {url} has no model {model!r}.", hint=f"It has: {names}.")
        return ServerFacts(url, found.id, found.context_length, key is not None)

    return asyncio.run(ask())


def _page(setup: Setup, server: ServerFacts) -> str:
    """Everything to put somewhere, and where."""
    parts = [f"# {setup.title}: {server.model} at {server.url}\n"]
    if setup.env:
        parts.append(f"# In the shell:\n{setup.exports()}")
    for file in setup.files:
        verb = {"own": "File", "create": "File", "section": "Add to"}[file.kind]
        parts.append(f"# {verb} {file.path}:\n{file.text}")
    if setup.run:
        parts.append(f"# Then:\n{setup.run}\n")
    if setup.note:
        parts.append("".join(f"# {line}\n" for line in setup.note.splitlines()))
    return "\n".join(parts)


def _env_file(client: str, setup: Setup) -> list[ReadyFile]:
    from dspark_local.connect.filling import ReadyFile, connect_dir

    return [ReadyFile(connect_dir() / f"{client}.sh", "own", setup.exports())] if setup.env else []


def _write(files: list[ReadyFile], *, yes: bool) -> None:
    from dspark_local.connect.writing import change_of, write

    changes = [change for change in map(change_of, files) if change.is_needed]
    for change in changes:
        write_stdout(change.diff())
    if not changes:
        write_stdout("Nothing to change.\n")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("There is nobody to ask whether to write this.", hint="Add --yes.")
        typer.confirm(f"Write {len(changes)} file{'s' * (len(changes) > 1)}?", abort=True, err=True)
    for change in changes:
        write(change)


def _starting(client: str, setup: Setup) -> str:
    from dspark_local.connect.filling import connect_dir

    source = f". {shlex.quote(str(connect_dir() / f'{client}.sh'))}" if setup.env else ""
    command = " && ".join(part for part in (source, setup.run) if part)
    return "".join(f"{line}\n" for line in ("Start it with:", f"  {command}", *setup.note.splitlines()))
