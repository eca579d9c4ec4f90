"""`dspark-chat`: checks what was asked, then opens the screen. Nothing heavy loads before that."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.errors import DsparkError, ModelNotFoundError, UsageError

if TYPE_CHECKING:
    from dspark_tui.engine_link import EngineLink
    from dspark_tui.store import ConversationStore

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point. A DsparkError becomes one message and its exit code, so does a defect unless DSPARK_DEBUG is set."""
    try:
        app()
    except DsparkError as error:
        _to_stderr(f"dspark-chat: {error}")
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if os.environ.get("DSPARK_DEBUG", "") not in ("", "0"):
            raise
        _to_stderr(f"dspark-chat: an unexpected {type(error).__name__}: {error}")
        _to_stderr("This is a defect; DSPARK_DEBUG=1 shows where. What was said is on disk.")
        raise SystemExit(1) from None


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have gone
        print(line, file=sys.stderr, flush=True)


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Option("--model", help="A name that `dspark-local list` shows, or a directory; else the demo."),
    ] = None,
    draft: Annotated[
        str | None, typer.Option("--draft", help="Draft, named like a model, if it is not the model's own.")
    ] = None,
    connect: Annotated[
        str | None, typer.Option("--connect", help="Use this OpenAI-compatible server; its key from DSPARK_API_KEY.")
    ] = None,
    keep_warm: Annotated[bool, typer.Option("--keep-warm", help="Leave the engine running for the next chat.")] = False,
    stop_engine: Annotated[
        bool, typer.Option("--stop-engine", help="Stop the engine that --keep-warm left, and exit.")
    ] = False,
    think: Annotated[bool, typer.Option("--think/--no-think", help="Let the model think before it answers.")] = False,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0.0, max=2.0, help="0 is greedy; the model's own if left out.")
    ] = None,
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    resume: Annotated[bool, typer.Option("--continue", "-c", help="Open the latest conversation again.")] = False,
    mouse: Annotated[
        bool | None,
        typer.Option("--mouse/--no-mouse", help="--no-mouse leaves selecting to the terminal.", show_default=False),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Say where chat.toml lies and what it may hold, and exit.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Chat with a model on this computer, in the terminal."""
    if version:
        from dspark_local import __version__

        print(f"dspark-chat {__version__}")
        return
    if settings:
        _print_settings()
        return
    if stop_engine:
        from dspark_tui.engine_link import stop_warm_engine

        print("Stopped." if stop_warm_engine() else "No engine was kept warm.")
        return
    if connect is not None and (model is not None or draft is not None or context is not None or keep_warm):
        raise UsageError(
            "--connect uses a server that is already running.",
            hint="Leave out --model, --draft, --context and --keep-warm, or leave out --connect.",
        )
    named = [_checked(text, is_draft=is_draft) for text, is_draft in ((model, False), (draft, True))]
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError("dspark-chat needs a terminal.", hint="In scripts and pipes use: dspark-local run")
    _run(_link(named[0], named[1], context, connect, keep_warm), think, temperature, resume, mouse)


def _print_settings() -> None:
    """The path and what is wrong in the file go to stderr, so that stdout is a chat.toml to begin with."""
    from dspark_tui.settings_example import example
    from dspark_tui.settings_file import load_settings, settings_path

    path = settings_path()
    _to_stderr(f"{path}{'' if path.exists() else ' (not there yet; this is what it may hold)'}")
    for problem in load_settings().problems:
        _to_stderr(problem)
    print(example(), end="")


def _checked(text: str | None, *, is_draft: bool) -> str | None:
    """A folder as its absolute path, a name as it is. Either is looked for before the screen opens.

    Raises ModelNotFoundError, and CheckpointError for a folder of models that cannot be read.
    """
    if text is None:
        return None
    folder = Path(text).expanduser()
    if not folder.exists() and not text.startswith((".", "~", os.sep)):
        from dspark_local.commands.locating import demand_present

        demand_present(*((None, text) if is_draft else (text, None)))
        return text
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ModelNotFoundError(f"The model directory {folder} {what}.", hint="Check the path.")
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(
            f"{folder} holds no model: it has no config.json.", hint="Give the directory of the checkpoint itself."
        )
    return str(folder.resolve())


def _link(
    model: str | None, draft: str | None, context: int | None, connect: str | None, keep_warm: bool
) -> EngineLink:
    from dspark_tui.engine_link import LocalEngine, RemoteEngine
    from dspark_tui.launcher import EngineOptions

    if connect is not None:
        return RemoteEngine(connect, os.environ.get("DSPARK_API_KEY") or None)
    return LocalEngine(EngineOptions(model, draft, context), keep_warm=keep_warm)


def _run(link: EngineLink, think: bool, temperature: float | None, resume: bool, mouse: bool | None) -> None:
    from dspark_tui.app import ChatApp
    from dspark_tui.chat_settings import ChatSettings
    from dspark_tui.leaving import leave_on_signals
    from dspark_tui.settings_file import load_settings
    from dspark_tui.stderr_guard import guarded_stderr

    log_path, store = _state_folder()
    file = load_settings()
    chat_app = ChatApp(link, ChatSettings(think, temperature, resume, file), store)
    leave_on_signals(lambda: chat_app.call_later(chat_app.exit))  # by the same door: the engine is stopped below
    try:
        with guarded_stderr(log_path):
            chat_app.run(mouse=file.mouse if mouse is None else mouse)
    finally:
        link.close()
        try:
            _rescue(store)
        finally:
            store.close()
    if chat_app.return_code:
        raise DsparkError("The chat ended with an error.", hint=f"Its log: {log_path}. Every conversation is on disk.")


def _state_folder() -> tuple[Path, ConversationStore]:
    """The log file and the store, both tried before the screen opens. Raises DsparkError when nothing can be kept."""
    import sqlite3

    from dspark_local.paths import log_dir, state_dir
    from dspark_tui.importing_legacy import import_legacy
    from dspark_tui.store import FILE_NAME, ConversationStore

    try:
        log_path = log_dir() / "chat.log"
        log_path.touch(mode=0o600)
        store = ConversationStore()
        store.unreadable = import_legacy(store, state_dir() / "conversations")
        return log_path, store
    except (OSError, sqlite3.Error) as error:
        path = getattr(error, "filename", None) or state_dir() / FILE_NAME
        reason = getattr(error, "strerror", None) or error
        raise DsparkError(
            f"The folder for conversations and logs cannot be used: {path}: {reason}.",
            hint="Make it writable, or set DSPARK_HOME to another folder.",
        ) from error


def _rescue(store: ConversationStore) -> None:
    """Says where a conversation went that the disk refused to the end. Raises DsparkError then."""
    try:
        copies = store.rescue()
    except OSError as error:
        raise DsparkError(
            f"The last conversation is lost: neither {store.path} nor the temporary folder takes it: {error}."
        ) from error
    if copies:
        raise DsparkError(
            f"{store.path} did not take this conversation, so it was written to {', '.join(map(str, copies))}.",
            hint=f"Make room, then import it in the chat: Ctrl+O, F6. The database stays {store.path}.",
        )


if __name__ == "__main__":
    main()
