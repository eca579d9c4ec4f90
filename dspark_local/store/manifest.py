"""Model folders of our own making, and the file in each that says what it holds.

A repacked checkpoint or the draft taken out of one is no file of any hub, so the hub's cache is not its place. Each
lies in a folder of its own with `dspark-model.json`, which names the commit it came from and the hash of every file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dspark_local import paths
from dspark_local.errors import CheckpointError

MANIFEST_NAME = "dspark-model.json"

FolderKind = Literal["repacked", "draft"]

_COMMIT_DIGITS = 12
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file. path is relative to the folder with forward slashes, size in bytes, sha256 in lower-case hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder was made from. commit is the full hash that `revision` stood for then."""

    repo: str
    revision: str
    commit: str
    kind: FolderKind
    files: tuple[ManifestFile, ...]


def model_folder(repo: str, commit: str, kind: FolderKind) -> Path:
    """Where the folder of this kind for one commit of `owner/name` lies; it need not exist. Raises OSError."""
    ending = "-draft" if kind == "draft" else ""
    return paths.models_dir() / f"{repo.replace('/', '--')}@{commit[:_COMMIT_DIGITS]}{ending}"


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None when it has none. CheckpointError when it is damaged or cannot be read."""
    file = folder / MANIFEST_NAME
    try:
        return _parse(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} cannot be read as the list of this model's files: {error}.",
            hint="Make the folder again: remove it and run the command that made it.",
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest in one step. It comes last, when all its files are there. Raises OSError."""
    content = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1)
    paths.write_atomically(folder / MANIFEST_NAME, content + "\n")


def _parse(content: Any) -> Manifest:
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}, this version reads {_FORMAT}")
    if content["kind"] not in ("repacked", "draft"):
        raise ValueError(f"its kind is {content['kind']!r}")
    files = tuple(ManifestFile(_inside(f["path"]), int(f["size"]), str(f["sha256"])) for f in content["files"])
    return Manifest(str(content["repo"]), str(content["revision"]), str(content["commit"]), content["kind"], files)


def _inside(path: str) -> str:
    """`path`, if it stays in its folder. ValueError otherwise: a manifest must not reach other people's files."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or not parts.parts:
        raise ValueError(f"{path!r} is no path inside the folder")
    return path
