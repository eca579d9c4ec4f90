"""The entries of catalog.json, found by name, by repository, or by what somebody probably meant."""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path

from dspark_local.catalog.schema import Entry

_FILE = Path(__file__).with_name("catalog.json")


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the order of the file: what most people want comes first."""
    return tuple(Entry.model_validate(item) for item in json.loads(_FILE.read_text(encoding="utf-8")))


def find(name: str) -> Entry | None:
    """The entry of this name, whatever its case."""
    wanted = name.casefold()
    return next((entry for entry in entries() if entry.name == wanted), None)


def find_by_repo(repo: str) -> tuple[Entry, ...]:
    """Entries whose target lies in `owner/name`; several when they are different files of it."""
    wanted = repo.casefold()
    return tuple(entry for entry in entries() if not entry.is_bundled and entry.target.repo.casefold() == wanted)


def close_names(name: str, count: int = 3) -> tuple[str, ...]:
    """Names of the catalog that look like `name`, the likeliest first; empty when none does."""
    names = [entry.name for entry in entries()]
    wanted = name.casefold().rpartition("/")[2].replace("_", "-").replace(" ", "-")
    alike = difflib.get_close_matches(wanted, names, count, cutoff=0.6)
    # "v4-pro" or "qwen3" is a part of a name rather than a mistyped one.
    parts = [candidate for candidate in names if len(wanted) > 2 and wanted in candidate and candidate not in alike]
    return tuple([*alike, *parts][:count])
