"""The ways to say which model: a name of the catalog, owner/repository[@revision], or a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dspark_local.catalog.catalog import close_names, find
from dspark_local.catalog.schema import Entry
from dspark_local.errors import ModelNotFoundError

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[\w][\w./-]*")


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A name of the catalog."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository on the hub. revision is a branch, a tag or a commit."""

    repo: str
    revision: str


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A file or directory of the user's own; it need not exist."""

    path: Path


Reference = CatalogModel | HubModel | LocalModel


def parse_reference(text: str) -> Reference:
    """What `text` names. ModelNotFoundError, with the closest names, when it is none of the three forms.

    A path is what starts with . / or ~, or contains a separator and exists; so a directory beats a repository of the
    same spelling, and `./name` is always the directory.
    """
    text = text.strip()
    if _looks_like_a_path(text):
        return LocalModel(Path(text).expanduser())
    entry = find(text)
    if entry is not None:
        return CatalogModel(entry)
    repo, at, revision = text.partition("@")
    if _REPO.fullmatch(repo) and ".." not in text and (_REVISION.fullmatch(revision) or not at):
        return HubModel(repo, revision or "main")
    raise ModelNotFoundError(f"There is no model called {text!r}.", hint=_suggestion(text))


def _looks_like_a_path(text: str) -> bool:
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    if text.startswith((".", "/", "~", *separators)) or Path(text).is_absolute():
        return True
    try:
        return any(separator in text for separator in separators) and Path(text).exists()
    except (OSError, ValueError):  # a name too long or with a null character is no path either
        return False


def _suggestion(text: str) -> str:
    close = close_names(text)
    if close:
        return f"Did you mean {' or '.join(close)}? dspark-local list --available shows every name."
    return "dspark-local list --available shows the names; owner/repository and ./directory work as well."
