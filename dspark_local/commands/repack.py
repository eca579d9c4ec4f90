"""`dspark-local repack`: a model directory laid out for off-loading."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.checking_progress import checking_progress
from dspark_local.commands.console import console, show_json
from dspark_local.commands.stdout import write_stdout
from dspark_local.errors import StoppedError, UsageError
from dspark_local.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dspark_local.catalog.reference import Reference
    from dspark_local.repacking import RepackResult, RepackSource, RepackStart

_PIPE_STEP_PERCENT = 5


def repack(
    source: Annotated[str, typer.Argument(help="A name that `list` shows, or a directory with safetensors shards.")],
    destination: Annotated[
        Path | None,
        typer.Argument(help="New folder; beside a directory, or where `list` finds it, if left out."),
    ] = None,
    remove_source: Annotated[
        bool, typer.Option("--remove-source", help="Delete each source shard once its part is written and checked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object at the end.")] = False,
) -> None:
    """Write a model with every expert in one piece, so that off-loading reads an expert in one go.

    The values stay the same, bit for bit. An interrupted repack continues with the same command.
    """
    from dspark_local.catalog.reference import LocalModel, parse_reference
    from dspark_local.repacking import RepackSource

    reference = parse_reference(source)
    if isinstance(reference, LocalModel):
        folder = reference.path.resolve()
        place = destination or folder.with_name(f"{folder.name}-repacked")
        run_repack(RepackSource(reference.path), place, remove_source=remove_source, yes=yes, as_json=as_json)
    else:
        _repack_installed(reference, source, destination, remove_source=remove_source, yes=yes, as_json=as_json)


def _repack_installed(
    reference: Reference, text: str, destination: Path | None, *, remove_source: bool, yes: bool, as_json: bool
) -> None:
    """Repack a pulled model, by default into a folder that takes its name over."""
    from dspark_local.commands.loading import say_dim
    from dspark_local.commands.store_errors import readable_store
    from dspark_local.hub.cache import RepoCache
    from dspark_local.repacking import RepackSource
    from dspark_local.store.locations import hub_cache_dir
    from dspark_local.store.manifest import model_folder
    from dspark_local.store.repacked import adopt_repacked
    from dspark_local.store.resolve import demand_verified, select_to_repack

    with readable_store():
        model = select_to_repack(reference, text)
        with checking_progress() as progress:
            demand_verified(model, progress)
        cache = RepoCache(hub_cache_dir(), model.repo)
        source = RepackSource(model.path, model.repo, f"{model.repo}@{model.commit}", cache.drop)
        folder = destination or model_folder(model.repo, model.commit, "repacked")

        def adopt() -> None:
            say_dim("reading the result once more, to record its hashes")
            adopt_repacked(folder, repo=model.repo, revision=next(iter(model.revisions), "main"), commit=model.commit)

        run_repack(
            source,
            folder,
            remove_source=remove_source,
            yes=yes,
            as_json=as_json,
            cached_as=model.name,
            adopt=adopt if destination is None else None,
        )
        if remove_source and not model.path.exists():
            cache.forget(model.commit)


def run_repack(
    source: RepackSource,
    destination: Path,
    *,
    remove_source: bool,
    yes: bool,
    as_json: bool,
    cached_as: str = "",
    adopt: Callable[[], None] | None = None,
) -> None:
    """Repack with progress on stderr and the outcome on stdout. Raises what dspark_local.repacking.repack raises.

    cached_as is the source's name in the hub's cache, if it lies there. adopt makes the result take that name over.
    """
    from dspark_local.repacking import repack as work

    if remove_source and not yes:
        _ask(source.directory)
    display = _Display()
    try:
        result = work(
            source, destination, remove_source=remove_source, on_start=display.start, on_bytes=display.advance
        )
    except KeyboardInterrupt:
        raise StoppedError from None
    finally:
        display.close()
    if adopt is not None:
        adopt()
    if as_json:
        show_json(
            {
                "source": str(source.directory),
                "destination": str(result.destination),
                "bytes": result.nbytes,
                "blocks": result.blocks,
                "experts": result.experts,
                "repacked_bytes": result.repacked_bytes,
                "seconds": round(result.seconds, 3),
                "source_is_gone": result.source_is_gone,
            }
        )
        return
    name = cached_as if adopt is not None else str(result.destination)
    write_stdout(_outcome(source.directory, result, removed=remove_source, name=name, cached_as=cached_as))


def _ask(directory: Path) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError(f"--remove-source deletes the files in {directory}.", hint="Add --yes to allow it.")
    typer.confirm(f"Delete the model's files in {directory} as they are repacked?", abort=True, err=True)


def _outcome(directory: Path, result: RepackResult, *, removed: bool, name: str, cached_as: str) -> str:
    lines = [
        f"{result.destination}: {format_bytes(result.nbytes)}, {result.experts:,} experts of {result.blocks} blocks, "
        f"in {result.seconds:.0f} s"
    ]
    if not result.repacked_bytes:
        lines = [f"{result.destination}: repacked already, {format_bytes(result.nbytes)}"]
    elif not removed and cached_as:
        # A snapshot is links: deleting its folder would free nothing.
        lines.append(f"The copy in the cache is no longer needed: dspark-local rm {cached_as} --only cache frees it.")
    elif not removed:
        lines.append(f"{directory} is no longer needed; deleting it frees what it holds.")
    if removed and not result.source_is_gone:
        lines.append(f"{directory} still holds files that are not the model's.")
    lines.append(f'Next: dspark-local run --model {name} "..."')
    return "\n".join(lines) + "\n"


class _Display:
    """A bar on a terminal, a line every few percent elsewhere; both on stderr.

    Every byte is handled twice, written and read back; what is shown are bytes of the model.
    """

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        self._screen = console(sys.stderr)
        self._bar = Progress(
            TextColumn("repack"),
            BarColumn(None),
            TextColumn("{task.fields[amount]}"),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._screen,
            expand=True,
        )
        self._total = self._done = self._shown = 0

    def start(self, progress: RepackStart) -> None:
        self._total, self._done = 2 * progress.total, 2 * progress.earlier
        if not self._left():
            return
        earlier = f", {format_bytes(progress.earlier)} are done already" if progress.earlier else ""
        self._screen.print(
            f"{format_bytes(progress.total)} to repack{earlier}; needs {format_bytes(progress.needed)} of room, "
            f"{format_bytes(progress.free)} are free",
            soft_wrap=True,
        )
        self._shown = self._percent()
        if self._screen.is_terminal:
            self._task = self._bar.add_task("", total=self._total // 2, completed=self._done // 2, amount="")
            self._bar.start()

    def advance(self, count: int) -> None:
        self._done += count
        if self._screen.is_terminal:
            amount = f"{format_bytes(self._done / 2)} of {format_bytes(self._total / 2)}"
            self._bar.update(self._task, completed=self._done // 2, amount=amount)
        elif self._percent() >= self._shown + _PIPE_STEP_PERCENT or self._done == self._total > 0:
            self._shown = self._percent()
            self._screen.print(f"repack {self._shown} %", soft_wrap=True)

    def close(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def _left(self) -> int:
        return self._total - self._done

    def _percent(self) -> int:
        return 100 * self._done // max(1, self._total)
