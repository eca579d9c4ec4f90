"""What a pull tells while it runs. Showing it is for somebody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file in work. done and size are bytes; note says what is being waited for, or is empty."""

    path: str
    done: int
    size: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """Said once, before the first byte: bytes that a repository's wanted files have, and how many of them are here."""

    repo: str
    commit: str
    files: int
    total_bytes: int
    present_bytes: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Said a few times a second. done counts bytes safely on the disk, of this run and before; it never falls.

    total grows when a file has to be fetched again. moved counts what came over the network in this run.
    """

    done: int
    total: int
    moved: int
    active: tuple[FileProgress, ...]


@dataclass(frozen=True, slots=True)
class FileDone:
    """A file is complete and its hash is the recorded one."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user."""

    text: str


Event = Planned | Progress | FileDone | Notice
Listener = Callable[[Event], None]
