"""From templates to a client's configuration for one server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dspark_local.connect.clients import Client, FileKind
from dspark_local.errors import UsageError
from dspark_local.paths import state_dir

# What a server calls its model goes into shell, TOML, YAML and JSON: nothing in it may mean anything there.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?")
_KEY_LINE = "[key] "
_KEY_IN_SHELL = "${DSPARK_API_KEY:-local}"
_ANSWER_SHARE = 4


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server to be used. context_length counts tokens, 0 where it is not known."""

    url: str
    model: str
    context_length: int
    asks_for_key: bool

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise UsageError(f"{self.url!r} is not a server's address.", hint="Give one like http://127.0.0.1:8484.")
        if not _MODEL.fullmatch(self.model):
            raise UsageError(f"The model name {self.model!r} has characters that a configuration cannot hold.")


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file as it is to be."""

    path: Path
    kind: FileKind
    text: str


@dataclass(frozen=True, slots=True)
class Setup:
    """A client's configuration with nothing left to fill in. env holds shell text; note may be empty."""

    title: str
    env: dict[str, str]
    files: tuple[ReadyFile, ...]
    run: str
    note: str

    def exports(self) -> str:
        """The environment as lines of a POSIX shell."""
        return "".join(f'export {name}="{value}"\n' for name, value in self.env.items())


def connect_dir() -> Path:
    """Folder of the files that we write for clients; need not exist. Raises OSError."""
    return state_dir() / "connect"


def fill(client: Client, server: ServerFacts) -> Setup:
    """The client's configuration for a server. A context that is not known counts as 32,768 tokens."""
    context = server.context_length or 32_768
    url = server.url.rstrip("/").removesuffix("/v1")
    values = {
        "<URL>": url,
        "<BASE_URL>": f"{url}/v1",
        "<MODEL>": server.model,
        "<CONTEXT>": str(context),
        "<ANSWER>": str(max(1, context // _ANSWER_SHARE)),
        "<KEY>": _KEY_IN_SHELL,
        "<DIR>": connect_dir().as_posix(),
        "<HOME>": Path.home().as_posix(),
        "<CODEX_HOME>": os.environ.get("CODEX_HOME") or str(Path.home() / ".codex"),
        "<LLM_USER_PATH>": os.environ.get("LLM_USER_PATH") or str(_llm_folder()),
    }

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    return Setup(
        title=client.title,
        env={name: filled(value) for name, value in client.env.items()},
        files=tuple(
            ReadyFile(Path(filled(file.path)), file.kind, filled(_key_lines(file.text, keep=server.asks_for_key)))
            for file in client.files
        ),
        run=filled(client.run),
        note=filled(client.note),
    )


def _key_lines(text: str, *, keep: bool) -> str:
    lines = (line for line in text.splitlines(keepends=True) if keep or not line.startswith(_KEY_LINE))
    return "".join(line.removeprefix(_KEY_LINE) for line in lines)


def _llm_folder() -> Path:
    import typer

    # llm asks click for its folder, and typer answers with the same function.
    return Path(typer.get_app_dir("io.datasette.llm"))
