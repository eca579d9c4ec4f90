"""The `serve` command. Importing this loads neither torch nor the web stack."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.loading import DRAFT_HELP, MODEL_HELP
from dspark_local.commands.locating import demand_present, locate
from dspark_local.errors import UsageError

if TYPE_CHECKING:
    from dspark_local.backend import Backend, LoadProgress
    from dspark_local.native import NativeBackend
    from dspark_local.server.metrics_engine import EngineReading

DEFAULT_PORT = 8484


def serve(
    model: Annotated[str | None, typer.Option("--model", help=MODEL_HELP)] = None,
    draft: Annotated[str | None, typer.Option("--draft", help=DRAFT_HELP)] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; other than loopback needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")] = DEFAULT_PORT,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="File with the API key; or set DSPARK_API_KEY.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or auto.")] = "auto",
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="A further name accepted in the Host header.")
    ] = None,
    slots: Annotated[int, typer.Option("--slots", min=1, max=64, help="Answers that are worked on at once.")] = 4,
    idle_unload: Annotated[
        float | None,
        typer.Option("--idle-unload", min=0.01, help="Unload the model after so many minutes without use."),
    ] = None,
    exit_with_stdin: Annotated[
        bool, typer.Option("--exit-with-stdin", hidden=True, help="Exit when standard input closes.")
    ] = False,
) -> None:
    """Serve an OpenAI-compatible API on this computer. Raises DsparkError."""
    from dspark_local.server.run import ServeOptions, run_server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = ServeOptions(
        host=host,
        port=port,
        api_key=read_api_key(api_key_file),
        allowed_hosts=tuple(allowed_host or ()),
        exit_with_stdin=exit_with_stdin,
        idle_minutes=idle_unload,
        slots=slots,
    )
    run_server(_native_loader(model, draft, dtype, device, context, slots), options, read_engine=_read_native)


def read_api_key(path: Path | None) -> str | None:
    """The key in the file, else in DSPARK_API_KEY, else None. Raises UsageError for a file that cannot be read."""
    import os

    if path is None:
        return os.environ.get("DSPARK_API_KEY") or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The API key file {path} cannot be read: {error}.") from error
    if not key:
        raise UsageError(f"The API key file {path} is empty.")
    return key


def _read_native(backend: NativeBackend) -> EngineReading:
    from dspark_local.server.metrics_native import read_native  # torch, which the loader has imported by now

    return read_native(backend)


def _native_loader(
    model: str | None, draft: str | None, dtype: str, device: str, context: int | None, slots: int
) -> Callable[[Callable[[LoadProgress], None]], Backend]:
    demand_present(model, draft)

    def load(progress: Callable[[LoadProgress], None]) -> Backend:
        # Imported in the worker thread, after the port is open: torch alone takes seconds.
        from dspark_local.backend import LoadProgress
        from dspark_local.native import NativeBackend

        def report_check(file: str, done: int, total: int) -> None:
            progress(LoadProgress(f"checking {file}", done, total))

        located = locate(model, draft, report_check)
        backend = NativeBackend.load(
            located.path,
            draft_dir=located.draft_path,
            name=located.name,
            dtype=dtype,
            device=device,
            context_length=context,
            max_sequences=slots,
            progress=progress,
        )
        backend.measure(progress)
        return backend

    return load
