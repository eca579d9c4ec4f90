"""The `dspark-local` program: commands, and what a failure looks like.

Importing this loads no torch, so --help and --version answer at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from dspark_local import __version__
from dspark_local.commands.bench import bench
from dspark_local.commands.calibrate import calibrate
from dspark_local.commands.connect import connect
from dspark_local.commands.doctor import doctor
from dspark_local.commands.list_models import list_models
from dspark_local.commands.path import path
from dspark_local.commands.plan import plan
from dspark_local.commands.pull import pull
from dspark_local.commands.remove import remove
from dspark_local.commands.repack import repack
from dspark_local.commands.run import run
from dspark_local.commands.score import score
from dspark_local.commands.verify import verify
from dspark_local.errors import DsparkError, StoppedError
from dspark_local.server.cli import serve

INTERRUPTED = 130

app = typer.Typer(
    name="dspark-local",
    help="DeepSeek-V4 with its DSpark draft on this computer.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: the boxes cut long option names short
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in (
    ("run", run),
    ("serve", serve),
    ("connect", connect),
    ("plan", plan),
    ("pull", pull),
    ("list", list_models),
    ("verify", verify),
    ("path", path),
    ("rm", remove),
    ("repack", repack),
    ("doctor", doctor),
    ("score", score),
    ("bench", bench),
    ("calibrate", calibrate),
):
    app.command(_name)(_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dspark-local {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DSPARK_DEBUG", help="Show the traceback of an unexpected failure.")
    ] = False,
) -> None:
    if debug:
        os.environ["DSPARK_DEBUG"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    """Exit code of one call: 0, a DsparkError's own, 2 for wrong usage, 130 after Ctrl-C, 1 for a defect."""
    try:
        # Usage errors are printed by typer itself, which then exits.
        outcome = get_command(app)(arguments, prog_name="dspark-local", standalone_mode=False)
        if outcome == INTERRUPTED:  # typer makes Ctrl-C an exit code
            _to_stderr("interrupted")
        return outcome if isinstance(outcome, int) else 0
    except DsparkError as error:
        _report(error, as_json="--json" in arguments)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _to_stderr("interrupted")
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's own usage errors
            error.show()
            return int(error.exit_code)
        if os.environ.get("DSPARK_DEBUG", "") not in ("", "0"):
            raise
        _to_stderr(f"error: an unexpected {type(error).__name__}: {error}")
        _to_stderr("hint: this is a defect; dspark-local --debug (or DSPARK_DEBUG=1) shows where.")
        return 1


def _report(error: DsparkError, *, as_json: bool) -> None:
    _to_stderr(error.message if isinstance(error, StoppedError) else f"error: {error.message}")
    if error.hint:
        _to_stderr(f"hint: {error.hint}")
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        with contextlib.suppress(OSError):
            print(json.dumps({"error": body}, ensure_ascii=False), flush=True)


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
