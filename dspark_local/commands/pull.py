"""`dspark-local pull`: get a model, verified, and go on where an earlier try ended."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dspark_local.hub.pulling import PullResult

MAX_CONNECTIONS = 16


def pull(
    name: Annotated[str, typer.Argument(help="A name of the catalog, or owner/repository[@revision].")],
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of the target.")] = None,
    draft_only: Annotated[bool, typer.Option("--draft-only", help="Only the draft's tensors.")] = False,
    no_draft: Annotated[bool, typer.Option("--no-draft", help="Leave a separate draft repository out.")] = False,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Only weights like this, as *Q4_K_M*; may be repeated.")
    ] = None,
    repack: Annotated[
        bool, typer.Option("--repack", help="Keep it with every expert in one piece, for off-loading; shard by shard.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even if it does not fit this computer.")] = False,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=MAX_CONNECTIONS, help="Connections in all.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object an event, the result last.")] = False,
) -> None:
    """Download a model into the Hugging Face cache; run it again to continue.

    Every file is checked against the hash that the hub recorded. HF_TOKEN or `hf auth login`, HF_HOME, HF_ENDPOINT and
    HF_HUB_OFFLINE work as for every program that uses the hub.
    """
    from dspark_local.commands.pull_advice import with_advice
    from dspark_local.commands.pull_progress import make_view
    from dspark_local.hub.intake import Settings
    from dspark_local.hub.pulling import orders, pull

    wanted = orders(
        name,
        revision=revision,
        draft_only=draft_only,
        with_draft=not no_draft,
        include=include or (),
        repack=repack,
    )
    start = time.monotonic()
    try:
        with _terminated_like_interrupted(), make_view(as_json=as_json) as view:
            listener = view.take if draft_only else with_advice(view.take, name, insist=anyway)
            result = pull(wanted, Settings(listener, connections=connections))
    except KeyboardInterrupt:
        raise StoppedError from None
    _report(name, result, time.monotonic() - start, as_json=as_json)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, as from a shutdown or a job scheduler, ends a pull as tidily as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(name: str, result: PullResult, seconds: float, *, as_json: bool) -> None:
    import json

    from dspark_local.commands.stdout import write_stdout
    from dspark_local.sizes import format_bytes

    if as_json:
        models = [
            {
                "role": model.role,
                "repo": model.repo,
                "revision": model.revision,
                "commit": model.commit,
                "path": str(model.folder),
                "bytes": model.nbytes,
            }
            for model in result.models
        ]
        body = {
            "event": "result",
            "models": models,
            "moved_bytes": result.moved_bytes,
            "present_bytes": result.present_bytes,
            "seconds": round(seconds, 3),
        }
        write_stdout(json.dumps(body, ensure_ascii=False) + "\n")
        return
    lines = []
    for model in result.models:
        lines.append(f"{model.role:<7} {model.repo} @ {model.commit[:12]}, {format_bytes(model.nbytes)}, verified")
        lines.append(f"        {model.folder}")
    if result.moved_bytes:
        speed = format_bytes(result.moved_bytes / max(seconds, 1e-3))
        lines.append(f"{format_bytes(result.moved_bytes)} downloaded in {seconds:.0f} s ({speed}/s).")
    else:
        lines.append("Everything was here already.")
    target = next((model for model in result.models if model.role == "target"), None)
    if target is not None:
        lines.append(f"Next: dspark-local plan {name}")
    else:
        lines.append(f"Next: dspark-local run --model TARGET --draft {result.models[0].folder}")
    write_stdout("\n".join(lines) + "\n")
