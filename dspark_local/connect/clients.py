"""The clients that we know how to configure, read from clients.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from dspark_local.errors import UsageError

FileKind = Literal["own", "create", "section"]


@dataclass(frozen=True, slots=True)
class FileTemplate:
    """A file's path and text, both with placeholders; clients.toml says what each kind of file means."""

    path: str
    kind: FileKind
    text: str


@dataclass(frozen=True, slots=True)
class Client:
    """How one client is told of a server. All texts hold placeholders."""

    name: str
    title: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FileTemplate, ...] = ()
    run: str = ""
    note: str = ""


def load_clients() -> dict[str, Client]:
    """Every client by its name, in the order of the file."""
    text = resources.files("dspark_local.connect").joinpath("clients.toml").read_text(encoding="utf-8")
    clients: dict[str, Client] = {}
    for name, table in tomllib.loads(text).items():
        files = tuple(FileTemplate(**entry) for entry in table.pop("files", ()))
        clients[name] = Client(name=name, files=files, **table)
    return clients


def find_client(name: str) -> Client:
    """The client of this name. Raises UsageError that lists those there are."""
    clients = load_clients()
    if name not in clients:
        raise UsageError(f"No client {name!r} is known.", hint=f"Known are {', '.join(clients)}.")
    return clients[name]
